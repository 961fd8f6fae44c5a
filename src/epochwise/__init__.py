"""Epochwise: a Keras CNN, run by DVC, configured by Hydra, tracked in MLflow; every result can be made again."""

__version__ = "0.1.0"
