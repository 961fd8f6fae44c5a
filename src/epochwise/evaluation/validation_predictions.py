"""validation_predictions.csv: what a run's model makes of each validation image, to compare runs image by image.

One row an image, in the order of the prepared data: its class and the predicted one. That is about four bytes an image,
20 kB for 5,000, as much as confusion_matrix.csv takes of each test image. Runs of earlier versions have no such file.
"""

from pathlib import Path

import numpy as np

from epochwise.common.errors import InputError
from epochwise.evaluation.file_names import VALIDATION_PREDICTIONS

HEADS = ("actual", "predicted")


def read_correct(folder: Path, val_accuracy: float) -> np.ndarray | None:
    """Which validation images a run classifies correctly, in order (N booleans); None if it kept no predictions.

    `folder` is where evaluate wrote. Raises InputError if the file is damaged, or if it is not of the run whose
    `val_accuracy` is given.
    """
    path = folder / VALIDATION_PREDICTIONS
    if not path.is_file():
        return None
    try:
        heads, *lines = path.read_text(encoding="utf-8").splitlines() or [""]
        if heads != ",".join(HEADS) or not lines:
            raise ValueError(f"it has no rows under {','.join(HEADS)}")
        right = {line: _is_right(line) for line in set(lines)}  # there are few different ones, and int() is slow
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable ({error}); remove it, or run again with sweep.rerun=true") from error
    correct = np.array([right[line] for line in lines])
    if round(val_accuracy * len(correct)) != int(correct.sum()):
        raise InputError(f"{path}: is not of the run beside it; remove it, or run again with sweep.rerun=true")
    return correct


def _is_right(row: str) -> bool:
    """Whether the class of an image and the predicted one are the same. Raises ValueError for another row."""
    actual, predicted = map(int, row.split(","))
    return actual == predicted
