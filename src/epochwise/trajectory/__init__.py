"""Exact trajectories: what identifies a training, the store of its states, and going on from one of them.

In: a checked configuration, prepared data and the folder of the state store. Out: a trained network, as if it had been
trained in one go. How an epoch is trained is in `training/`; where results are written is in `runs/`.
"""
