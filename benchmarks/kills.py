"""Kill -9 at random moments of a training, then the same command again: is the result that of an unbroken training?

    python benchmarks/kills.py epochwise|keras [--kills 20] [--seed 0] [--source mnist|digits]
                               [--precision float32|mixed_bfloat16]

`epochwise` runs this project in a clone of it; `keras` the same network on the same images with Keras's own `fit` on
arrays and its BackupAndRestore. Both train 6 epochs on 2,000 images (digits: 1,200), single-threaded and with
deterministic ops. The moments are the same fractions of either's unbroken training, from its start to its saved model.
"""

import argparse
import csv
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

EPOCHS = 6
FIRST, SECOND = "1", "2"  # processes of one training
TRAINING = ("train.threads=1", f"train.epochs={EPOCHS}")
SOURCES = {
    "mnist": ("prepare.source=mnist", "prepare.train_size=2000", "prepare.validation_size=1000", *TRAINING),
    "digits": ("prepare.source=digits", "prepare.validation_size=300", *TRAINING),
}


class Epochwise:
    def __init__(self, clone: Path, source: str, precision: str):
        self.clone, self.source, self.precision = clone, source, precision

    def command(self, name: str, process: str) -> list[str]:
        arguments = [*SOURCES[self.source], f"train.precision={self.precision}", f"tracking.experiment={name}"]
        return ["epochwise", "run", *arguments, f"hydra.run.dir=outputs/{name}/{process}"]

    def file(self, name: str, process: str, what: str) -> Path:
        return self.clone / "outputs" / name / process / what

    def forget(self) -> None:
        shutil.rmtree(self.clone / "trajectories", ignore_errors=True)

    def epochs_in_history(self, name: str, process: str) -> int:
        """Epochs in the history that a process has left."""
        path = self.file(name, process, "history.csv")
        return len(list(csv.DictReader(path.open()))) if path.exists() else 0

    def trained(self, name: str, process: str) -> int:
        return json.loads(self.file(name, process, "run.json").read_text())["epochs_trained"]

    def statuses(self, name: str) -> str:
        import mlflow

        client = mlflow.MlflowClient(f"sqlite:///{self.clone / 'mlflow.db'}")
        experiment = client.get_experiment_by_name(name).experiment_id
        found = Counter(run.info.status for run in client.search_runs([experiment]))
        return "MLflow " + " + ".join(f"{number} {status}" for status, number in sorted(found.items()))


class Keras(Epochwise):
    """The training below, whose epochs all stand in the first process's history, to which the second one appends."""

    def command(self, name: str, process: str) -> list[str]:
        where = ["--folder", f"outputs/{name}", "--process", process]
        given = ["--source", self.source, "--precision", self.precision, *where]
        return [sys.executable, str(Path(__file__).resolve()), "train", *given]

    def forget(self) -> None:
        pass

    def trained(self, name: str, process: str) -> int:
        return self.epochs_in_history(name, process) - self.epochs_in_history(name, FIRST)

    def statuses(self, name: str) -> str:
        return "not tracked"


def train_with_keras(folder: Path, process: str, source: str, precision: str) -> None:
    """A training as Keras's guide to BackupAndRestore has it: the same command again goes on from `folder`/backup."""
    from epochwise.config.compose import load
    from epochwise.pipeline.datasets import prepared_for
    from epochwise.training.backend import configure, keras
    from epochwise.training.model_file import save_model
    from epochwise.training.network import build_model

    cfg = load([*SOURCES[source], f"train.precision={precision}"])
    prepared = prepared_for(cfg)
    configure(cfg.train.threads)
    model = build_model(cfg.model, prepared.image_shape, prepared.meta.classes, cfg.train.precision, cfg.seed)
    optimizer = keras.optimizers.Adam(cfg.train.learning_rate)
    model.compile(optimizer=optimizer, loss="categorical_crossentropy", metrics=["accuracy"])
    result = folder / process
    result.mkdir(parents=True)
    if process != FIRST:
        shutil.copy(folder / FIRST / "history.csv", result)
    (result / "config.yaml").touch()
    model.fit(
        *prepared.arrays("train"),
        batch_size=cfg.train.batch_size,
        epochs=EPOCHS,
        validation_data=prepared.arrays("validation"),
        callbacks=[
            keras.callbacks.BackupAndRestore(folder / "backup"),
            keras.callbacks.CSVLogger(result / "history.csv", append=True),
        ],
        verbose=0,
    )
    save_model(model, result / "model.keras")


def run(way: Epochwise, name: str, process: str, kill_after: float | None = None) -> float:
    """Run to the end, or kill so many seconds after training has started. Returns seconds from start to saved model."""
    with (way.clone / "log.txt").open("a") as log:
        code = os.environ | {"PYTHONPATH": str(way.clone / "src")}  # the clone's, which no edit changes meanwhile
        child = subprocess.Popen(way.command(name, process), cwd=way.clone, env=code, stdout=log, stderr=log)
    while not way.file(name, process, "config.yaml").exists() and child.poll() is None:
        time.sleep(0.01)
    started = time.monotonic()
    while kill_after is None and not way.file(name, process, "model.keras").exists() and child.poll() is None:
        time.sleep(0.01)
    seconds = time.monotonic() - started
    if kill_after is not None:
        time.sleep(kill_after)
        child.kill()
    child.wait()
    return seconds


def one_kill(way: Epochwise, name: str, after: float, expected: dict[str, str]) -> Counter:
    way.forget()
    run(way, name, FIRST, after)
    before = way.epochs_in_history(name, FIRST)
    run(way, name, SECOND)
    now, ended = hashes(way, name, SECOND), way.file(name, SECOND, "model.keras").exists()
    again = max(0, way.trained(name, SECOND) - (EPOCHS - before)) if ended else 0
    counts = {"ended": ended, **{f"same {file}": now[file] == expected[file] for file in expected}}
    counts |= {"finished epochs trained again": again, way.statuses(name): 1}
    heading = f"{name} after {after:.1f} s and {before} epochs: "
    print(heading + ", ".join(f"{what} {int(count)}" for what, count in counts.items()), flush=True)
    return Counter(counts)


def hashes(way: Epochwise, name: str, process: str) -> dict[str, str | None]:
    files = {file: way.file(name, process, file) for file in ("model.keras", "history.csv")}
    return {
        file: hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None for file, path in files.items()
    }


def main(way: Epochwise, kills: int, seed: int) -> None:
    seconds = [run(way, "unbroken", FIRST)]
    expected = hashes(way, "unbroken", FIRST)
    way.forget()
    seconds.append(run(way, "unbroken-again", FIRST))
    same = hashes(way, "unbroken-again", FIRST) == expected
    print(f"unbroken: {min(seconds):.1f} s of training; a second time the same to the bit: {same}", flush=True)
    draw, total = random.Random(seed), Counter()
    for number in range(1, kills + 1):
        total.update(one_kill(way, f"kill-{number}", draw.random() * min(seconds), expected))
    print(f"of {kills} kills: " + ", ".join(f"{what} {count}" for what, count in total.items()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("way", choices=("epochwise", "keras", "train"))
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--source", choices=SOURCES, default="mnist")
    parser.add_argument("--precision", choices=("float32", "mixed_bfloat16"), default="float32")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--process", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way == "train":
        train_with_keras(given.folder, given.process, given.source, given.precision)
        sys.exit()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["git", "clone", "--quiet", ".", folder], check=True)
        way = {"epochwise": Epochwise, "keras": Keras}[given.way](Path(folder), given.source, given.precision)
        main(way, given.kills, given.seed)
