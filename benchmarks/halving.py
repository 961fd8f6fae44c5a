"""Successive halving over 27 settings: its epochs and wall time, its winner, and what finishing the grid adds.

    python benchmarks/halving.py [--source mnist|digits] [--stock-jobs 2]
    python benchmarks/halving.py --kills 20 [--seed 0]

The first: rungs 1, 3, 9 and 27 on 6,000 images of MNIST (digits: 1, 2, 3 and 4 on 1,200), in a fresh clone, without
ties. The stock way (stock_sweep.py) is timed on as many of the 27 jobs as `--stock-jobs` says, and the rest is
computed: the time of these jobs beyond that of one job of one epoch, which is start-up, times 27. Then the winner again
by itself from nothing, the grid, with its regret, and the search with ties, which then has nothing left to train: what
it would have cost follows from how many settings each rung promotes. 729 states of 14.4 MB are more than the store
keeps by default, so it is given room.

The second: a search on digits is killed at random moments (the parent by SIGKILL, one of its workers by SIGKILL, or all
by SIGINT, as Ctrl-C does), and the same command is given again until it ends. Counted are: the same promotions and the
same leaderboard as without kills, and epochs that were trained again although their states were there.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SETTINGS = (
    "model.dense_dropout=0.1,0.2,0.3,0.4,0.5,0.6,0.65,0.7,0.75",
    "train.learning_rate=0.0005,0.001,0.002",
)
SOURCES = {
    "mnist": ("1,3,9,27", ("prepare.source=mnist", "prepare.train_size=6000", "trajectories.max_gb=20")),
    "digits": ("1,2,3,4", ("prepare.source=digits", "prepare.validation_size=300", "train.threads=1")),
}
KILLED_SETTINGS = ("model.dense_dropout=0.1,0.3,0.5,0.7", "train.learning_rate=0.0005,0.002")
HALVING = ("epochwise", "run", "-m", "hydra/sweeper=halving")


def clone_to(folder: Path) -> Path:
    subprocess.run(["git", "clone", "--quiet", HERE.parent, folder], check=True)
    return folder


def environment(clone: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(clone / "src")}  # the clone's code, which no edit changes meanwhile


def timed(clone: Path, *command: str) -> tuple[float, str]:
    """Seconds that a command took, and what it printed."""
    started = time.monotonic()
    done = subprocess.run(command, cwd=clone, env=environment(clone), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return time.monotonic() - started, done.stdout


def records(clone: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in clone.glob("multirun/*/*/*/run.json")]


def epochs_trained(clone: Path) -> int:
    return sum(record["epochs_trained"] for record in records(clone))


def latest_sweep(clone: Path) -> Path:
    return max(clone.glob("multirun/*/*/sweep.json"), key=lambda path: path.stat().st_mtime).parent


def search_once(source: str, stock_jobs: int) -> None:
    rungs, data = SOURCES[source]
    last = rungs.rpartition(",")[2]
    with tempfile.TemporaryDirectory() as folder:
        clone = clone_to(Path(folder) / "clone")
        timed(clone, "epochwise", "prepare", *data)
        command = (*HALVING, f"train.epochs={rungs}", *SETTINGS, *data)
        wall, printed = timed(clone, *command, "hydra.sweeper.keep_ties=false")
        show("halving", wall, clone, printed)
        if stock_jobs and source == "mnist":
            stock, measured = stock_wall(clone, int(last), stock_jobs), f"measured on {stock_jobs} of 27 jobs"
            print(f"stock grid: {stock:.0f} s, {measured}; stock / halving {stock / wall:.1f}", flush=True)
        rows = json.loads((latest_sweep(clone) / "leaderboard.json").read_text())["rows"]
        winner = {key: rows[0][key] for key in ("train.epochs", "model.dense_dropout", "train.learning_rate")}
        weights = {record["run_id"]: record["weights_sha256"] for record in records(clone)}[rows[0]["runs"][0]]
        typed = [f"{key}={value}" for key, value in winner.items()]
        timed(clone, "epochwise", "run", *typed, *data, "train.reuse=false")
        (alone,) = [json.loads(path.read_text()) for path in clone.glob("outputs/*/*/run.json")]
        print(f"winner {' '.join(typed)}: byte-equal alone: {alone['weights_sha256'] == weights}", flush=True)
        before = epochs_trained(clone)
        grid_wall, printed = timed(clone, "epochwise", "run", "-m", f"train.epochs={last}", *SETTINGS, *data)
        print(f"grid finished: {grid_wall:.0f} s, {epochs_trained(clone) - before} more epochs", flush=True)
        print("\n".join(line for line in printed.splitlines() if line.startswith("successive halving")), flush=True)
        wall, printed = timed(clone, *command)
        show("the same with ties", wall, clone, printed)


def show(what: str, seconds: float, clone: Path, printed: str) -> None:
    """Print what a search took, what the clone's runs have trained so far, and the lines on each rung."""
    so_far = f"{epochs_trained(clone)} epochs trained so far, {len(records(clone))} runs"
    rungs = [line for line in printed.splitlines() if line.startswith("after ")]
    print(f"{what}: {seconds:.0f} s, {so_far}", *rungs, sep="\n", flush=True)


def stock_wall(clone: Path, epochs: int, jobs: int) -> float:
    """Seconds that the stock way would take for 27 jobs of so many epochs."""
    archive = clone / "data.npz"
    shutil.copy(clone / "data/prepared/data.npz", archive)
    script = (sys.executable, str(HERE / "stock_sweep.py"), "-m", f"data={archive}")
    start_up = timed(clone, *script, "epochs=1", "dropout=0.5")[0]
    dropouts = ",".join(str(number / 10) for number in range(1, jobs + 1))
    measured = timed(clone, *script, f"epochs={epochs}", f"dropout={dropouts}")[0]
    return start_up + (measured - start_up) * 27 / jobs


def kills(number: int, seed: int) -> None:
    rungs, data = SOURCES["digits"]
    command = (*HALVING, f"train.epochs={rungs}", *KILLED_SETTINGS, *data, "hydra.sweeper.eta=2")
    draw, same, again = random.Random(seed), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        clone = clone_to(Path(folder) / "clone")
        seconds, _ = timed(clone, *command)
        expected = outcome(clone)
        print(f"unbroken: {seconds:.0f} s, {epochs_trained(clone)} epochs", flush=True)
        for kill in range(1, number + 1):
            for name in ("multirun", "trajectories", "mlruns"):
                shutil.rmtree(clone / name, ignore_errors=True)
            for path in clone.glob("mlflow.db*"):
                path.unlink()
            (clone / "mlruns").mkdir()
            way, after = draw.choice(("parent", "worker", "Ctrl-C")), draw.random() * seconds
            killed(clone, command, way, after)
            before = states(clone)
            timed(clone, *command)
            after_all = states(clone)
            trained_again = sum(after_all[path] != inode for path, inode in before.items())
            equal = outcome(clone) == expected
            same, again = same + equal, again + trained_again
            print(f"kill {kill}: {way} after {after:.0f} s: same {equal}, trained again {trained_again}", flush=True)
    print(f"of {number} kills: same promotions and leaderboard {same}, finished epochs trained again {again}")


def killed(clone: Path, command: tuple[str, ...], way: str, after: float) -> None:
    """Start the command, and kill it or a worker of it after so many seconds."""
    with (clone / "log.txt").open("a") as log:
        child = subprocess.Popen(
            command, cwd=clone, env=environment(clone), stdout=log, stderr=log, start_new_session=True
        )
    try:
        child.wait(after)
        return
    except subprocess.TimeoutExpired:
        pass
    if way == "Ctrl-C":
        os.killpg(child.pid, signal.SIGINT)
    elif way == "worker" and (workers := children(child.pid)):
        os.kill(random.Random(after).choice(workers), signal.SIGKILL)
    else:
        child.kill()
    child.wait()
    deadline = time.monotonic() + 60
    while any_left(child.pid) and time.monotonic() < deadline:  # workers end with their parent
        time.sleep(0.1)


def children(process: int) -> list[int]:
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process)], capture_output=True, text=True).stdout
    return [int(line) for line in listed.split()]


def any_left(session: int) -> bool:
    return subprocess.run(["ps", "-o", "pid=", "--sid", str(session)], capture_output=True).stdout.strip() != b""


def states(clone: Path) -> dict[Path, int]:
    """The inode of each kept state. An epoch that is trained again writes its state again, as a new file."""
    return {path: path.stat().st_ino for path in clone.glob("trajectories/*/[0-9]*.npz")}


def outcome(clone: Path) -> list[dict]:
    """The leaderboard without what differs between equal runs: ids and costs."""
    rows = json.loads((latest_sweep(clone) / "leaderboard.json").read_text())["rows"]
    left_out = {"runs", "epochs_trained", "epochs_reused", "train_seconds", "trajectory_seconds"}
    return [{key: value for key, value in row.items() if key not in left_out} for row in rows]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", choices=SOURCES, default="mnist")
    parser.add_argument("--stock-jobs", type=int, default=2)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.kills:
        kills(given.kills, given.seed)
    else:
        search_once(given.source, given.stock_jobs)
