"""A whole run on MNIST, from the start of its process to its end: in plain Keras, and here.

    python benchmarks/runs.py [--rounds 3] [--epochs 12]

bare: a script that reads the arrays, fits the write-up's network in float32, validated after each epoch, and scores
the test set; it keeps nothing but a model file. ours: `epochwise run` in a fresh clone with nothing but MNIST fetched,
so it also prepares the data, keeps the state of each epoch, draws pictures and logs to MLflow. 55,000 training images,
5,000 to validate. All ways run one after the other in each round; ratios are of one round.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
WAYS = {"bare float32": [], "ours float32": [], "ours mixed_bfloat16": ["train.precision=mixed_bfloat16"]}


def bare(archive: str, epochs: int) -> None:
    from steps import bare_model

    arrays = np.load(archive)
    model = bare_model("float32")
    validation = arrays["x_validation"], arrays["y_validation"]
    model.fit(arrays["x_train"], arrays["y_train"], batch_size=32, epochs=epochs, validation_data=validation, verbose=0)
    print(model.evaluate(arrays["x_test"], arrays["y_test"], verbose=0))
    model.save(Path(archive).with_name("model.keras"))


def once(way: str, project: Path, epochs: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder)
        subprocess.run(["git", "clone", "--quiet", HERE.parent, clone], check=True)
        if way.startswith("bare"):
            shutil.copy(project / "data/prepared/data.npz", clone)
            command = [sys.executable, __file__, "--bare", str(clone / "data.npz"), "--epochs", str(epochs)]
        else:
            shutil.copytree(project / "data/cache/mnist", clone / "data/cache/mnist")
            command = ["epochwise", "run", f"train.epochs={epochs}", *WAYS[way]]
        started = time.monotonic()
        done = subprocess.run(command, cwd=clone, capture_output=True, text=True)
        seconds = time.monotonic() - started
    if done.returncode:
        raise SystemExit(f"{way} failed:\n{done.stderr[-3000:]}")
    print(f"{way}: {seconds:.1f} s", flush=True)
    return seconds


def main(rounds: int, epochs: int) -> None:
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        subprocess.run(["git", "clone", "--quiet", HERE.parent, project], check=True)
        subprocess.run(["epochwise", "prepare"], cwd=project, check=True)
        for number in range(rounds):
            ways = [*WAYS][number % len(WAYS) :] + [*WAYS][: number % len(WAYS)]  # so that none is always the first
            for way in ways:
                found[way].append(once(way, project, epochs))
    for way, seconds in found.items():
        ratios = [one / other for one, other in zip(seconds, found["bare float32"], strict=True)]
        each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"{way:20} {statistics.median(seconds):7.1f} s {statistics.median(ratios):6.2f} of bare ({each})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--bare", help=argparse.SUPPRESS)
    options = vars(parser.parse_args())
    if archive := options.pop("bare"):
        bare(archive, options["epochs"])
    else:
        main(**options)
