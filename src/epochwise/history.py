"""history.csv: a training told epoch by epoch, and what is said of it in short."""

import csv
import io
from pathlib import Path

from epochwise.files import write_text

COLUMNS = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy")
Rows = list[dict[str, float]]


def write(rows: Rows, path: Path) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read(path: Path) -> Rows:
    """One row an epoch: epoch (int, from 1), loss, accuracy, val_loss, val_accuracy. Raises OSError if not there."""
    with open(path, encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [{key: int(value) if key == "epoch" else float(value) for key, value in row.items()} for row in rows]


def best(rows: Rows) -> dict[str, float]:
    """The row of the highest validation accuracy, the earliest of equals."""
    return max(rows, key=lambda row: row["val_accuracy"])


def summary(rows: Rows) -> dict[str, float]:
    """The last epoch's metrics, and the epoch and value of the best validation accuracy."""
    last = {key: rows[-1][key] for key in COLUMNS[1:]}
    return last | {"best_epoch": best(rows)["epoch"], "best_val_accuracy": best(rows)["val_accuracy"]}
