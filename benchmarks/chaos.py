"""Small sweeps under faults, healed and started again by the same command: is all there, once, and byte for byte?

    python benchmarks/chaos.py [--rounds 30] [--seed 0] [--source digits|mnist] [--faults worker,parent,…]

Works in a clone on a small file system in memory if it may mount one (root), so that a disk can be full. Each round
draws one or two faults, and moments for them from the time that the sweep takes without any:

    worker, parent      kill -9 of a process that trains, of the one that conducts
    ctrl-c, sigterm     to the process group, to the parent
    server, restart     kill -9 of the MLflow server, which stays away; its orderly restart
    lock                MLflow's database held exclusively for longer than SQLite waits
    disk                no byte left on the file system

A round with `server` or `restart` tracks to a real MLflow server; the others draw between that and the local database.
"""

import argparse
import contextlib
import hashlib
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

GRID = ("train.epochs=2,4", "model.dense_dropout=0.25,0.5", "hydra/launcher=parallel", "hydra.launcher.n_jobs=2")
POINTS = 4
os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
SOURCES = {
    "digits": ("prepare.source=digits", "prepare.validation_size=300"),
    "mnist": ("prepare.source=mnist", "prepare.train_size=2000", "prepare.validation_size=1000"),
}
ROW = ("rank", "train.epochs", "model.dense_dropout", "n", "val_accuracy", "val_loss", "best_epoch", "test_accuracy")
RESULTS = ("history.csv", "model.keras", "metrics.json", "confusion_matrix.csv")  # what two equal runs have in common
ARTIFACTS = {"config.yaml", "results.zip", "run.json", "report.html", "evaluation/confusion_matrix.png"}
FAULTS = ("worker", "parent", "ctrl-c", "sigterm", "server", "restart", "lock", "disk")
DISK = {"digits": 1000, "mnist": 4000}  # MB
LOCKED = 25.0  # seconds; SQLite waits 20 as MLflow sets it
TRIES = 3  # of the same command after healing; the second is for what a fault has left to the first
PORT = 5057


class Server:
    """A real MLflow server on a database of its own."""

    def __init__(self, work: Path):
        self.database, self.artifacts = work / "server.db", work / "artifacts"
        self.uri = f"http://127.0.0.1:{PORT}"
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        about = ["--backend-store-uri", f"sqlite:///{self.database}", "--artifacts-destination", str(self.artifacts)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
        few = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        command = [sys.executable, "-m", "mlflow", "server", *about, "--workers", "1", "--port", str(PORT)]
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if self.process is None or self.process.poll() is not None:  # on a full disk it does not start
                self.process = subprocess.Popen(command, env=few, **quiet)
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=2):
                return
            time.sleep(0.3)
        sys.exit("the MLflow server does not start")

    def stop(self, how: int) -> None:
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, how)
            self.process.wait()
        self.process = None

    def restart(self) -> None:
        self.stop(signal.SIGTERM)
        self.start()


class Sweep:
    """The sweep's command in a clone, with an experiment of its own, and what it leaves there."""

    def __init__(self, clone: Path, source: str, name: str, uri: str):
        self.clone, self.name, self.uri = clone, name, uri
        self.command = ["epochwise", "run", "-m", *GRID, *SOURCES[source], f"tracking.experiment={name}"]
        for folder in ("multirun", "trajectories"):
            shutil.rmtree(clone / folder, ignore_errors=True)

    def start(self) -> subprocess.Popen:
        more = {"PYTHONPATH": str(self.clone / "src"), "MLFLOW_TRACKING_URI": self.uri, "TMPDIR": str(self.clone)}
        captured = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        # Ctrl-C is for a process group, and a shell in the background has its jobs ignore it.
        ready = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731
        return subprocess.Popen(
            self.command, cwd=self.clone, env=os.environ | more, start_new_session=True, preexec_fn=ready, **captured
        )

    def run(self) -> tuple[int, str]:
        process = self.start()
        printed = ended(process)
        return process.returncode, printed

    def results(self) -> dict[str, dict[str, str]]:
        """sha256 of each result, by what varies."""
        (sweep,) = self.clone.glob("multirun/*/*/sweep.json")
        points = json.loads(sweep.read_text())["points"]
        return {point["name"]: digests(sweep.parent / str(point["job"]), RESULTS) for point in points}

    def rows(self) -> list[dict]:
        """The leaderboard, without what differs between equal ones: ids and costs."""
        (board,) = self.clone.glob("multirun/*/*/leaderboard.json")
        return [{key: row[key] for key in ROW} for row in json.loads(board.read_text())["rows"]]

    def trained_twice(self) -> int:
        """Epochs that were printed as ended and then trained once more, by the jobs' logs."""
        seen: Counter = Counter()
        for log in self.clone.glob("multirun/*/*/*/run.log"):
            config = next(iter(log.parent.glob("config.yaml")), None)
            dropout = re.search(r"dense_dropout: (\S+)", config.read_text())[1] if config else log.parent.name
            for epoch in re.findall(r"^epoch (\d+)/\d+ · ", log.read_text(), re.MULTILINE):
                seen[dropout, epoch] += 1
        return sum(count - 1 for count in seen.values())

    def tracked(self) -> dict[str, int]:
        """What MLflow has of the sweep: whole runs, those of them that differ from disk, and how many are RUNNING."""
        import mlflow

        mlflow.set_tracking_uri(self.uri)
        client, found = mlflow.MlflowClient(self.uri), Counter()
        for name in (self.name, f"{self.name}-sweeps"):
            experiment = client.get_experiment_by_name(name)
            for run in client.search_runs([experiment.experiment_id]) if experiment else []:
                found[f"{run.info.status}{name.removeprefix(self.name)}"] += 1
                if run.info.status == "FINISHED" and name == self.name:
                    found["whole"] += whole(client, run, self.results())
        return found


def whole(client, run, results: dict[str, dict[str, str]]) -> bool:
    """Whether the run has every epoch at its step, every artifact, and a model, with the bytes that are on disk."""
    from mlflow.exceptions import MlflowException

    epochs = int(run.data.params["train.epochs"])
    name = f"epochs={epochs} dense_dropout={run.data.params['model.dense_dropout']}"
    with tempfile.TemporaryDirectory() as scratch:
        there = Path(client.download_artifacts(run.info.run_id, "", scratch))
        paths = {str(path.relative_to(there)) for path in there.rglob("*") if path.is_file()}
        try:
            client.download_artifacts(run.info.run_id, "model", scratch)
        except MlflowException:  # it has none
            return False
        model = Path(scratch) / "model/data/model.keras"
        if (there / "results.zip").is_file():
            shutil.unpack_archive(there / "results.zip", there)
        files = {name: next(there.rglob(name), there / name) for name in RESULTS} | {"model.keras": model}
        same = all(path.is_file() and sha256(path) == results[name][key] for key, path in files.items())
    steps = [[point.step for point in client.get_metric_history(run.info.run_id, key)] for key in ("loss", "val_loss")]
    return paths >= ARTIFACTS and same and steps == [list(range(1, epochs + 1))] * 2


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def digests(folder: Path, names: tuple[str, ...]) -> dict[str, str]:
    return {name: sha256(folder / name) if (folder / name).is_file() else "not there" for name in names}


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


def ended(process: subprocess.Popen) -> str:
    """What a sweep has printed, once it and every process of its group are gone."""
    printed = process.communicate()[0]
    while True:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return printed
        time.sleep(0.1)


class World:
    """Where faults strike, and how each is healed."""

    def __init__(self, work: Path, server: Server, draw: random.Random):
        self.work, self.clone, self.server, self.draw = work, work / "clone", server, draw
        self.heals: list[Callable[[], None]] = []

    def strike(self, fault: str, process: subprocess.Popen, uri: str) -> str:
        """Let the fault happen to a running sweep; what has been struck."""
        if fault == "worker":
            there = workers(process.pid)
            if not there:
                return "nobody, for there was no worker yet"
            os.kill(self.draw.choice(there), signal.SIGKILL)
        elif fault == "parent":
            process.kill()
        elif fault == "ctrl-c":
            os.killpg(process.pid, signal.SIGINT)
        elif fault == "sigterm":
            process.terminate()
        elif fault == "server":
            self.server.stop(signal.SIGKILL)
            self.heals.append(self.server.start)
        elif fault == "restart":
            self.server.restart()
        elif fault == "lock":
            self._lock(self.server.database if uri == self.server.uri else self.clone / "mlflow.db")
        elif fault == "disk":
            self._fill()
        return fault

    def heal(self) -> None:
        while self.heals:
            self.heals.pop()()

    def _lock(self, database: Path) -> None:
        holder = sqlite3.connect(database, timeout=60, isolation_level=None, check_same_thread=False)
        with contextlib.suppress(sqlite3.Error):
            holder.execute("BEGIN EXCLUSIVE")
        release = threading.Timer(LOCKED, holder.close)
        release.start()
        self.heals.append(lambda: (release.cancel(), holder.close()))

    def _fill(self) -> None:
        filler = self.work / "filler"
        with open(filler, "wb") as stream, contextlib.suppress(OSError):
            while True:
                stream.write(b"\0" * 2**16)
                stream.flush()
        make_room = lambda: filler.unlink(missing_ok=True)  # noqa: E731
        self.heals.append(make_room)
        threading.Timer(self.draw.uniform(3, 15), make_room).start()  # so does another program, sooner


def one_round(
    world: World, number: int, source: str, faults: list[str], seconds: float, rows: list, reference: dict
) -> Counter:
    remote = bool({"server", "restart"} & set(faults)) or world.draw.random() < 0.5
    uri = world.server.uri if remote else f"sqlite:///{world.clone / 'mlflow.db'}"
    sweep = Sweep(world.clone, source, f"chaos-{number}", uri)
    moments = sorted(world.draw.uniform(0.05, 0.8) * seconds for _ in faults)
    process, started = sweep.start(), time.monotonic()
    struck = []
    for fault, moment in zip(faults, moments, strict=True):
        time.sleep(max(0, started + moment - time.monotonic()))
        if process.poll() is None:
            struck.append(f"{world.strike(fault, process, uri)} after {moment:.1f} s")
    printed = ended(process)
    first = process.returncode
    world.heal()
    tries, code = 0, None
    while code != 0 and tries < TRIES:
        code, printed = sweep.run()
        tries += 1
    found = sweep.tracked()
    counts = {
        "ended": code == 0,
        "same rows": sweep.rows() == rows,
        "same bytes": sweep.results() == reference,
        "one FINISHED run each": found["FINISHED"] == POINTS,
        "whole in MLflow": found["whole"] == POINTS,
        "left RUNNING": found["RUNNING"] + found["RUNNING-sweeps"],
        "finished epochs trained again": sweep.trained_twice(),
    }
    outcome = ", ".join(f"{name} {int(count)}" for name, count in counts.items())
    place = "server" if remote else "database"
    print(
        f"{number}: {place}: {'; '.join(struck) or 'too late'}: exit {first}, then {code} ({tries}): {outcome}",
        flush=True,
    )
    if not all(list(counts.values())[:5]) or any(list(counts.values())[5:]):
        print(printed, flush=True)
    return Counter({name: int(count) for name, count in counts.items()})


def clone_to(folder: Path) -> Path:
    """A clone of the project in the working directory, with its MNIST if that has been fetched."""
    subprocess.run(["git", "clone", "--quiet", ".", folder], check=True)
    if Path("data/cache/mnist").is_dir():
        shutil.copytree("data/cache/mnist", folder / "data/cache/mnist")
    return folder


@contextlib.contextmanager
def small_disk(megabytes: int) -> Iterator[tuple[Path, bool]]:
    """A folder, and whether it is a file system in memory of that size, which not everybody may mount."""
    with tempfile.TemporaryDirectory() as folder:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder]
        mounted = not subprocess.run(mount, capture_output=True).returncode
        try:
            yield Path(folder), mounted
        finally:
            if mounted:
                subprocess.run(["umount", "--lazy", folder], check=True)


def main(rounds: int, seed: int, source: str, faults: list[str]) -> None:
    draw, total = random.Random(seed), Counter()
    with small_disk(DISK[source]) as (work, small):
        clone_to(work / "clone")
        if not small:
            faults = [fault for fault in faults if fault != "disk"]
            print("no file system may be mounted here, so no disk is full")
        server = Server(work)
        world = World(work, server, draw)
        try:
            server.start()
            times, results = [], []
            for name in ("fault-free", "fault-free-again"):  # the first one finds nothing in the disk's cache
                sweep = Sweep(world.clone, source, name, server.uri)
                started = time.monotonic()
                code, printed = sweep.run()
                times.append(time.monotonic() - started)
                results.append(sweep.results())
                if code or results[0] != results[-1] or sweep.tracked()["whole"] != POINTS:
                    sys.exit(f"{printed}\nthe sweep does not work without faults")
            rows = sweep.rows()
            print(f"fault-free: {min(times):.1f} s", flush=True)
            for number in range(1, rounds + 1):
                chosen = draw.sample(faults, min(len(faults), draw.choice((1, 1, 2))))
                total.update(one_round(world, number, source, chosen, min(times), rows, results[0]))
        finally:
            world.heal()
            server.stop(signal.SIGKILL)
    print(f"of {rounds} rounds: " + ", ".join(f"{what} {count}" for what, count in total.items()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--source", choices=SOURCES, default="digits")
    parser.add_argument("--faults", type=lambda text: text.split(","), default=list(FAULTS))
    given = parser.parse_args()
    if unknown := set(given.faults) - set(FAULTS):
        parser.error(f"no fault {', '.join(unknown)}; there is {', '.join(FAULTS)}")
    main(**vars(given))
