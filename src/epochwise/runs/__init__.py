"""A run directory: the files that hold a run's results, and run.json, the record of how they came about.

In: the path of a run directory and what a run writes there. Out: its files, checked when they are read; the run's
lineage; which runs are at work. The run directory is the truth; MLflow only shows it (`tracking/`). Where run
directories lie in a project is in `pipeline/directories.py`.
"""
