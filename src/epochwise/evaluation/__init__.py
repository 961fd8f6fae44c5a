"""Stage 3, evaluate: score the test set once; write metrics, the confusion matrix and pictures.

In: a run directory with a finished training, and prepared data. Out: the files listed in `file_names.py`. Comparing the
runs of a sweep is in `sweeps/leaderboard.py`; classifying a user's own pictures is in `commands/predict.py`.
"""
