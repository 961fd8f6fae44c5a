"""The history of a training: one row of metrics an epoch, as history.csv holds it."""

import csv
import io
import math
from pathlib import Path

from epochwise.common.errors import InputError
from epochwise.common.files import write_text

METRICS = ("loss", "accuracy", "val_loss", "val_accuracy")
COLUMNS = ("epoch", *METRICS)

Row = dict[str, float]  # `epoch` (int, from 1) and the four METRICS
History = list[Row]


def write_history(history: History, path: Path) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_text(path, text.getvalue())


def read_history(path: Path) -> History:
    """The rows of a history.csv. Raises InputError unless it holds COLUMNS and one row or more, epochs 1, 2, 3, …"""
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            head, *lines = csv.reader(stream)
        history = [dict(zip(COLUMNS, [int(line[0]), *map(float, line[1:])], strict=True)) for line in lines]
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise InputError(f"{path}: not a readable history ({error})") from error
    finite = all(math.isfinite(value) for row in history for value in row.values())
    in_order = [row["epoch"] for row in history] == [*range(1, len(history) + 1)]
    if tuple(head) != COLUMNS or not finite or not in_order or not history:
        raise InputError(f"{path}: not a history: {','.join(COLUMNS)}, then a row of numbers for each epoch from 1 on")
    return history


def best_epoch(history: History) -> Row:
    """The row with the highest validation accuracy; the earliest of equals."""
    return max(history, key=lambda row: row["val_accuracy"])


def summarize(history: History) -> dict[str, float]:
    """The last epoch's metrics, and the epoch and value of the best validation accuracy."""
    last, best = history[-1], best_epoch(history)
    return {key: last[key] for key in METRICS} | {
        "best_epoch": best["epoch"],
        "best_val_accuracy": best["val_accuracy"],
    }
