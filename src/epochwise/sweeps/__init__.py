"""Sweeps: a grid of values to jobs, jobs to worker processes, finished runs to a leaderboard.

In: the overrides of Hydra's command line (`commands/run.py`). Out: sweep.json, a run directory for each point of the
grid, and the leaderboard's files, all in the sweep's folder in multirun/. What one run does is in `pipeline/run.py`;
how MLflow shows a sweep is in `tracking/sweep_mirror.py`.
"""
