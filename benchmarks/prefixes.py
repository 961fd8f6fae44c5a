"""A sweep over epochs 2, 4, …, 12 with shared epochs and with each run from nothing: same results, other costs.

    python benchmarks/prefixes.py [float32|mixed_bfloat16] [mnist|digits]

Runs in a clone of the project, on 6,000 images of MNIST (all of the digits). Steps are counted, and do not depend on
the machine; wall times are of whole sweeps, start-up, tracking and evaluation included.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EPOCHS = (2, 4, 6, 8, 10, 12)
SOURCES = {"mnist": ("prepare.source=mnist", "prepare.train_size=6000"), "digits": ("experiment=quick",)}


def sweep(clone: Path, *overrides: str) -> tuple[dict[int, Path], float]:
    """The run directories by epochs, and wall seconds."""
    folder = clone / "multirun" / str(len(list(clone.glob("multirun/*"))))
    epochs = f"train.epochs={','.join(map(str, EPOCHS))}"
    started = time.monotonic()
    subprocess.run(
        ["epochwise", "run", "-m", *overrides, epochs, f"hydra.sweep.dir={folder}"],
        cwd=clone,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    seconds = time.monotonic() - started
    return {record(path)["epochs"]: path for path in folder.glob("*/") if (path / "run.json").exists()}, seconds


def record(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text())


def identical(one: Path, other: Path) -> bool:
    files = all(digest(one / name) == digest(other / name) for name in ("history.csv", "model.keras", "metrics.json"))
    return files and record(one)["weights_sha256"] == record(other)["weights_sha256"]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main(precision: str, source: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["git", "clone", "--quiet", ".", folder], check=True)
        clone, arguments = Path(folder), (*SOURCES[source], f"train.precision={precision}")
        subprocess.run(["epochwise", "prepare", *SOURCES[source]], cwd=clone, check=True)
        shared, shared_seconds = sweep(clone, *arguments)
        alone, alone_seconds = sweep(clone, *arguments, "train.reuse=false", "sweep.rerun=true")
        for epochs in EPOCHS:
            found = record(shared[epochs])
            same = "identical" if identical(shared[epochs], alone[epochs]) else "DIFFERENT"
            print(f"epochs={epochs}: trained {found['epochs_trained']}, reused {found['epochs_reused']}, {same}")
        steps = [sum(record(path)["steps_trained"] for path in paths.values()) for paths in (shared, alone)]
        print(f"{precision}: {steps[0]} steps shared, {steps[1]} alone: {steps[1] / steps[0]:.2f} times fewer")
        ratio = alone_seconds / shared_seconds
        print(f"{shared_seconds:.0f} s shared, {alone_seconds:.0f} s alone: {ratio:.2f} times less")


if __name__ == "__main__":
    main(*(sys.argv[1:] + ["float32", "mnist"][len(sys.argv) - 1 :]))
