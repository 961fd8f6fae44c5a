"""The learning rate of each epoch, and how many epochs of a run do not depend on its length."""

from omegaconf import DictConfig


def learning_rate(train: DictConfig, epoch: int) -> float:
    """The rate of `epoch`, counted from 1: step decay by absolute epoch, then a linear cooldown in the last epochs.

    With a cooldown of c epochs, the i-th of them has the factor 1 - i / (c + 1), so that no epoch has the rate 0.
    A constant rate with a short linear cooldown trains as well as a cosine schedule, and runs of different lengths
    share all epochs before the cooldown (Hägele et al., arXiv 2405.18392).
    """
    rate = train.learning_rate
    if train.decay_every:
        rate *= train.decay_factor ** ((epoch - 1) // train.decay_every)
    cooling = max(0, epoch - shared_epochs(train))
    return float(rate * (1 - cooling / (train.cooldown_epochs + 1)))


def shared_epochs(train: DictConfig) -> int:
    """How many of a run's first epochs are the same whatever `train.epochs` is."""
    return int(train.epochs - train.cooldown_epochs)
