"""Where a run ends: after `train.epochs`, or before that where `train.patience` stops it.

Patience is that of Keras's EarlyStopping on val_accuracy: a run ends after so many epochs in a row without a higher
one. An equal one is not higher. That follows from the history alone, so a state tells whether a run ends with it, or
ended before it.
"""

from epochwise.training.history import History


def last_epoch(history: History, epochs: int, patience: int | None) -> int:
    """The last epoch of a run of at most `epochs`, as far as `history` tells. Without `patience` it is `epochs`."""
    return possible_ends(history, epochs, patience)[1]


def possible_ends(history: History, epochs: int, patience: int | None) -> tuple[int, int]:
    """The first and the last epoch with which a run may end that begins with `history`.

    They are the same once it is known where the run ends.
    """
    if patience is None:
        return epochs, epochs
    best, highest = 1, -1.0  # the first epoch is the best one so far, whatever it reaches
    for epoch, row in enumerate(history[:epochs], 1):
        if row["val_accuracy"] > highest:
            best, highest = epoch, row["val_accuracy"]
        elif epoch - best >= patience:
            return epoch, epoch
    return min(epochs, best + patience), epochs
