"""The table of the write-up in docs/results.md, from run directories: mean ± standard deviation over seeds.

epochwise run -m experiment=writeup seed=0,1,2,3,4 train.epochs=10,12  # about 35 minutes
python benchmarks/writeup_table.py multirun/*/*/*/
"""

import operator
import statistics
import sys
from collections import defaultdict
from pathlib import Path

from epochwise.common.files import read_json
from epochwise.training.history import best_epoch, read_history

WRITE_UP = {"loss": 0.0083, "accuracy": 0.9975, "val_loss": 0.0489, "val_accuracy": 0.9886}  # after epoch 12


def spread(values: list[float], digits: int) -> str:
    """Mean ± sample standard deviation, which one value does not have."""
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{deviation}"


def main(folders: list[Path]) -> None:
    runs = defaultdict(list)
    for folder in folders:
        record = read_json(folder / "run.json")
        runs[record["epochs"]].append((read_history(folder / "history.csv"), record))
    columns = sorted(runs)
    print(
        f"| | write-up, 12 epochs | {' | '.join(f'{epochs} epochs, n = {len(runs[epochs])}' for epochs in columns)} |"
    )
    print("|---|---|" + "---|" * len(columns))
    for key, reported in WRITE_UP.items():
        cells = [spread([rows[-1][key] for rows, _ in runs[epochs]], 4) for epochs in columns]
        print(f"| {key.replace('val_', 'test ')} | {reported} | {' | '.join(cells)} |")
    for title, value, digits in (
        ("epoch of the lowest test loss", lambda rows: min(rows, key=lambda row: row["val_loss"])["epoch"], 1),
        ("epoch of the best test accuracy", lambda rows: best_epoch(rows)["epoch"], 1),
    ):
        cells = [spread([value(rows) for rows, _ in runs[epochs]], digits) for epochs in columns]
        print(f"| {title} | | {' | '.join(cells)} |")
    longest = [rows for rows, _ in runs[columns[-1]]]
    for key, worse in (("val_loss", operator.gt), ("val_accuracy", operator.lt)) if columns[-1] > 10 else ():
        count = sum(worse(rows[-1][key], rows[9][key]) for rows in longest)
        print(f"\nlast {key} worse than that of epoch 10: {count} of {len(longest)} runs")


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
