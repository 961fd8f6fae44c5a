"""How often the paired test tells apart what is one setting: its false positives, over seeds of one setting on digits.

    python benchmarks/paired_test.py [--seeds 40] [--epochs 3]

One setting is trained with many seeds in a fresh clone. Two seeds are two models of one setting, so a difference by
more than chance says nothing of settings: it counts as a false positive. Counted are disjoint pairs, which are
independent, with an interval (Clopper and Pearson, 95 %), and all pairs, which are not; then the same for groups of 2
and of 4 seeds on either side, as settings with several seeds are compared.
"""

import argparse
import itertools
import os
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

from epochwise.evaluation.validation_predictions import read_correct
from epochwise.runs.directory import RunDirectory
from epochwise.sweeps.paired_test import LEVEL, name_of_test, p_value

HERE = Path(__file__).resolve().parent
DATA = ("prepare.source=digits", "prepare.validation_size=300", "train.threads=1")
SIZES = (1, 2, 4)  # seeds on either side


def train(clone: Path, seeds: int, epochs: int) -> list[RunDirectory]:
    """The runs of one setting with so many seeds."""
    subprocess.run(["git", "clone", "--quiet", HERE.parent, clone], check=True)
    command = ["epochwise", "run", "-m", *DATA, f"train.epochs={epochs}", f"seed=range({seeds})", "tracking=off"]
    environment = os.environ | {"PYTHONPATH": str(clone / "src")}  # the clone's code, which no edit changes meanwhile
    subprocess.run([*command, "hydra/launcher=parallel"], cwd=clone, env=environment, check=True, capture_output=True)
    folders = sorted((path.parent for path in clone.glob("multirun/*/*/*/run.json")), key=lambda path: int(path.name))
    return [RunDirectory(folder) for folder in folders]


def told_apart(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> tuple[int, int]:
    """How many of some pairs differ by more than chance, and how many there are."""
    found = [p_value(one, other) < LEVEL for one, other in pairs]
    return sum(found), len(found)


def main(seeds: int, epochs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        runs = train(Path(folder) / "clone", seeds, epochs)
        accuracies = [run.read_metrics()["val_accuracy"] for run in runs]
        correct = [read_correct(run.evaluation, accuracy) for run, accuracy in zip(runs, accuracies, strict=True)]
    images = len(correct[0])
    print(f"{len(runs)} seeds, {images} validation images, val_accuracy {np.mean(accuracies):.4f} ± ", end="")
    deviation = np.std(accuracies, ddof=1)
    by_images = np.sqrt(np.mean(accuracies) * (1 - np.mean(accuracies)) / images)
    print(f"{deviation:.4f} over seeds; from the choice of images alone it would be {by_images:.4f}")
    for size in (size for size in SIZES if 2 * size <= len(correct)):
        groups = [np.stack(correct[first : first + size]) for first in range(0, len(correct) - size + 1, size)]
        different, pairs = told_apart(zip(groups[::2], groups[1::2], strict=False))
        low, high = binomtest(different, pairs).proportion_ci(0.95)
        of_all, all_pairs = told_apart(itertools.combinations(groups, 2))
        print(
            f"{name_of_test(size)}: told apart {different} of {pairs} disjoint pairs = {different / pairs:.2f} "
            f"({low:.2f} to {high:.2f}), {of_all} of all {all_pairs} = {of_all / all_pairs:.2f}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--epochs", type=int, default=3)
    given = parser.parse_args()
    main(given.seeds, given.epochs)
