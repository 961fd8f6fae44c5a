"""history.csv: a training told epoch by epoch, and what is said of it in short."""

import csv
import io
import math
from pathlib import Path

from epochwise.common.errors import InputError
from epochwise.common.files import write_text

COLUMNS = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy")
Rows = list[dict[str, float]]


def write(rows: Rows, path: Path) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read(path: Path) -> Rows:
    """One row an epoch: epoch (int, from 1), loss, accuracy, val_loss, val_accuracy.

    Raises InputError unless `path` holds just that, for one epoch or more.
    """
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            heads, *lines = csv.reader(stream)
        rows = [dict(zip(COLUMNS, [int(line[0]), *map(float, line[1:])], strict=True)) for line in lines]
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise InputError(f"{path}: not a readable history ({error})") from error
    sound = all(math.isfinite(value) for row in rows for value in row.values())
    if tuple(heads) != COLUMNS or not sound or [row["epoch"] for row in rows] != [*range(1, len(rows) + 1)] or not rows:
        raise InputError(f"{path}: not a history: {','.join(COLUMNS)}, then a row of numbers for each epoch from 1 on")
    return rows


def best(rows: Rows) -> dict[str, float]:
    """The row of the highest validation accuracy, the earliest of equals."""
    return max(rows, key=lambda row: row["val_accuracy"])


def summary(rows: Rows) -> dict[str, float]:
    """The last epoch's metrics, and the epoch and value of the best validation accuracy."""
    last = {key: rows[-1][key] for key in COLUMNS[1:]}
    return last | {"best_epoch": best(rows)["epoch"], "best_val_accuracy": best(rows)["val_accuracy"]}
