"""A sweep that is killed at random moments, and the same command again: is it the unbroken sweep, row by row?

    python benchmarks/sweep_kills.py [--kills 10] [--seed 0] [--source mnist|digits]

Runs in a clone of the project, two workers, epochs 2, 4, 6 and two dropouts, on 2,000 images (digits: 1,200). Each time
one of three is drawn: a worker or the parent gets SIGKILL, or the whole process group gets Ctrl-C's SIGINT; at a moment
drawn from the time that the unbroken sweep took.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

GRID = ("train.epochs=2,4,6", "model.dense_dropout=0.25,0.5", "hydra/launcher=parallel", "hydra.launcher.n_jobs=2")
SOURCES = {
    "mnist": ("prepare.source=mnist", "prepare.train_size=2000", "prepare.validation_size=1000"),
    "digits": ("prepare.source=digits", "prepare.validation_size=300"),
}
TRAJECTORIES, LONGEST, POINTS = 2, 6, 6
RESULTS = (
    "rank",
    "train.epochs",
    "model.dense_dropout",
    "n",
    "val_accuracy",
    "val_loss",
    "best_epoch",
    "best_val_accuracy",
)
RESULTS += ("test_accuracy", "test_loss")


class Sweep:
    """The sweep's command in a clone, and what it has left there."""

    def __init__(self, clone: Path, source: str, name: str):
        self.clone, self.name = clone, name
        self.command = ["epochwise", "run", "-m", *GRID, *SOURCES[source], f"tracking.experiment={name}"]
        for folder in ("multirun", "trajectories"):
            shutil.rmtree(clone / folder, ignore_errors=True)

    def start(self) -> subprocess.Popen:
        code = os.environ | {"PYTHONPATH": str(self.clone / "src")}  # the clone's, which no edit changes meanwhile
        told = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        # Ctrl-C is for a process group, and a shell in the background has its jobs ignore it.
        ready = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731
        return subprocess.Popen(
            self.command, cwd=self.clone, env=code, start_new_session=True, preexec_fn=ready, **told
        )

    def states(self) -> dict[str, int]:
        """Kept states by name, each with its inode, which is a new one if the file was written again."""
        found = self.clone.glob("trajectories/*/[0-9]*.npz")
        return {f"{path.parent.name}/{path.name}": path.stat().st_ino for path in found}

    def rows(self) -> list[dict]:
        (board,) = self.clone.glob("multirun/*/*/leaderboard.json")
        return [{key: row[key] for key in RESULTS} for row in json.loads(board.read_text())["rows"]]

    def weights(self) -> list[str]:
        runs = [json.loads(path.read_text()) for path in self.clone.glob("multirun/*/*/*/run.json")]
        return sorted(run["weights_sha256"] or "none" for run in runs)

    def statuses(self) -> Counter:
        import mlflow

        client = mlflow.MlflowClient(f"sqlite:///{self.clone / 'mlflow.db'}")
        found = Counter()
        for name in (self.name, f"{self.name}-sweeps"):
            runs = client.search_runs([client.get_experiment_by_name(name).experiment_id])
            found.update(f"{run.info.status}{name.removeprefix(self.name)}" for run in runs)
        return found


@contextmanager
def fresh_clone() -> Iterator[Path]:
    """A clone of the project in the working directory, with its MNIST if that has been fetched."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["git", "clone", "--quiet", ".", folder], check=True)
        if Path("data/cache/mnist").is_dir():
            shutil.copytree("data/cache/mnist", Path(folder) / "data/cache/mnist")
        yield Path(folder)


def workers(parent: int) -> list[int]:
    """The worker processes of a sweep, by /proc."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            about = status.read_text().rpartition(")")[2].split()
            if int(about[1]) == parent and b"spawn_main" in (status.parent / "cmdline").read_bytes():
                found.append(int(status.parent.name))
        except OSError:  # it has just ended
            continue
    return found


def strike(process: subprocess.Popen, victim: str, draw: random.Random) -> None:
    there = workers(process.pid)
    if victim == "Ctrl-C":
        os.killpg(process.pid, signal.SIGINT)
    elif victim == "parent" or not there:
        process.kill()
    else:
        os.kill(draw.choice(there), signal.SIGKILL)


def ended(process: subprocess.Popen) -> str:
    """What a sweep said, once it and every process of its group are gone."""
    said = process.communicate()[0]
    while True:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return said
        time.sleep(0.1)


def one_kill(sweep: Sweep, victim: str, after: float, draw: random.Random, rows: list, weights: list) -> Counter:
    process = sweep.start()
    time.sleep(after)
    if process.poll() is not None:
        sys.exit(f"{sweep.name}: it had ended after {after:.1f} s already: no kill; try another --seed")
    strike(process, victim, draw)
    ended(process)
    before, code = sweep.states(), process.returncode
    again = sweep.start()
    said = ended(again)
    trained = sum(int(number) for number in re.findall(r"^done: .* · (\d+) epochs trained", said, re.MULTILINE))
    after_it = sweep.states()
    written = sum(after_it.get(name) != inode for name, inode in before.items())
    statuses = sweep.statuses()
    counts = {
        "ended": again.returncode == 0,
        "same rows": sweep.rows() == rows,
        "same weights": sweep.weights() == weights,
        "one FINISHED run each": statuses["FINISHED"] == POINTS,
        "left RUNNING": statuses["RUNNING"] + statuses["RUNNING-sweeps"],
        "finished epochs trained again": max(written, trained - (TRAJECTORIES * LONGEST - len(before))),
    }
    what = f"{victim} after {after:.1f} s, exit {code}, {len(before)} of {TRAJECTORIES * LONGEST} epochs kept: "
    print(what + ", ".join(f"{name} {int(count)}" for name, count in counts.items()), flush=True)
    if not (counts["ended"] and counts["same rows"]):
        print(said)
    return Counter({name: int(count) for name, count in counts.items()})


def main(clone: Path, kills: int, seed: int, source: str) -> None:
    times = []
    for name in ("unbroken", "unbroken-again"):  # the first one finds nothing in the disk's cache
        unbroken = Sweep(clone, source, name)
        started = time.monotonic()
        process = unbroken.start()
        said = ended(process)
        times.append(time.monotonic() - started)
        if process.returncode:
            sys.exit(said)
    seconds = 0.9 * min(times)  # no later, so that there is something left to kill
    rows, weights = unbroken.rows(), unbroken.weights()
    print(f"unbroken: {min(times):.1f} s, {len(rows)} rows", flush=True)
    draw, total = random.Random(seed), Counter()
    for number in range(1, kills + 1):
        victim = draw.choice(("worker", "parent", "Ctrl-C"))
        total.update(
            one_kill(Sweep(clone, source, f"kill-{number}"), victim, draw.uniform(0, seconds), draw, rows, weights)
        )
    print(f"of {kills} kills: " + ", ".join(f"{what} {count}" for what, count in total.items()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--source", choices=SOURCES, default="mnist")
    given = parser.parse_args()
    with fresh_clone() as folder:
        main(folder, given.kills, given.seed, given.source)
