"""The jobs of a sweep, given to workers: what is finished is not run again, and no failure stops the others."""

import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.types import HydraContext
from omegaconf import DictConfig
from rich.console import Console

from epochwise.common.errors import InputError, RunError
from epochwise.common.paths import find_root, main_root
from epochwise.common.worker import Answer, Worker, answered, end
from epochwise.pipeline.stages import store
from epochwise.runs import directory as rundir
from epochwise.sweeps import leaderboard
from epochwise.sweeps import record as sweepdir
from epochwise.sweeps.record import Point, Sweep
from epochwise.sweeps.scheduler import Job, choose, to_train
from epochwise.tracking import orphans as running
from epochwise.tracking import server as tracking
from epochwise.tracking.sweep_mirror import fetch_finished, publish
from epochwise.trajectory.identity import legs

LOOK = 1.0  # seconds between two looks at how far the running jobs are
UNTOLD = "the sweep's leaderboard is on disk; `epochwise publish` tells it of that, and of runs that it lacks"
TELL = 60.0  # seconds between two lines on it where no terminal shows one that is kept up


def launch(folder: Path, context: HydraContext, configs: dict[int, DictConfig], n_jobs: int) -> None:
    """Run those of the jobs in `configs` that are missing, of the sweep in `folder`, `n_jobs` at once; then publish.

    Why a job failed is left in sweep.json. KeyboardInterrupt and SystemExit end the workers, as SIGTERM does.
    """
    sweep = sweepdir.read(folder)
    cfg = next(iter(configs.values()))
    finished = {} if cfg.sweep.rerun else sweepdir.finished(find_root(), sweep)
    have = {job: folder for job, folder in finished.items() if job in configs}
    points = _distinct([point for point in sweep.points if point.job in configs], have)
    before = {job: failure for job, failure in sweep.failures.items() if int(job) not in configs}
    sweep.failures = before | {str(point.job): point.refused for point in sweep.points if point.refused}
    sweep.write()
    conductor = _Conductor(sweep, context, {point.job: configs[point.job] for point in points}, n_jobs)
    try:
        if points:
            conductor.warm_up(cfg.tracking.enabled)
        if cfg.tracking.enabled and points and sweep.reuse and not cfg.sweep.rerun and tracking.exists(main_root()):
            have |= conductor.fetch(points, cfg)
        conductor.tell(have)
        conductor.run([_job(sweep, point, configs[point.job]) for point in points if point.job not in have], len(have))
        if cfg.tracking.enabled:
            conductor.publish()
    finally:
        conductor.end()


def _distinct(points: list[Point], have: dict[int, Path]) -> list[Point]:
    """The points that are to be run; of those that are one and the same run, the first."""
    first = {point.fingerprint: point for point in reversed(points) if point.fingerprint and point.job not in have}
    return [point for point in points if first.get(point.fingerprint) is point]


def _job(sweep: Sweep, point: Point, config: DictConfig) -> Job:
    way = legs(config, point.data_sha256)
    return Job(point.job, point.name, sweep.run_folder(point), config, way, store(config))


class _Conductor:
    """Workers, what they are at, and what is said of it."""

    def __init__(self, sweep: Sweep, context: HydraContext, configs: dict[int, DictConfig], n_jobs: int):
        self.sweep, self.context = sweep, context
        threads = max((config.train.threads for config in configs.values()), default=1)
        fit = n_jobs if n_jobs > 0 else cores() // threads
        self.count = max(1, min(fit, len(configs)))
        self.workers: list[Worker] = []
        self.uses: dict[Worker, int] = {}  # train.threads, which a process sets once

    def warm_up(self, tracked: bool) -> None:
        """Let workers import what runs need, which takes seconds, while it is still being found out what to run."""
        for _ in range(self.count):
            self._worker().give("warm up", _warm_up, tracked)

    def fetch(self, points: list[Point], cfg: DictConfig) -> dict[int, Path]:
        """Run directories of points that are finished in MLflow only, fetched from there."""
        wanted = {point.fingerprint: self.sweep.run_folder(point) for point in points}
        worker = self._worker()
        worker.give("fetch", _fetch, cfg, wanted)
        found = self._answer(worker, "what is finished there only is run again") or {}
        end([worker])
        self._forget(worker)
        return {point.job: found[point.fingerprint] for point in points if point.fingerprint in found}

    def tell(self, have: dict[int, Path]) -> None:
        for point in self.sweep.points:
            if point.job in have:
                print(f"have it: {point.name} ({_short(have[point.job])})", flush=True)

    def run(self, jobs: list[Job], had: int) -> None:
        self.progress = _Progress(jobs, had, self.count)
        waiting = list(jobs)
        with self.progress.shown():
            while waiting or self._running():
                while (job := choose(waiting, self._running())) and (worker := self._free(job)):
                    waiting.remove(job)
                    self.progress.start(job)
                    log = job.folder / sweepdir.LOG
                    worker.give(job, _run_job, self.context, job.config, log)
                for worker in answered(self.workers, LOOK):
                    self._take(worker)
                self.progress.update(self._running(), waiting)

    def publish(self) -> None:
        """Bring MLflow level, unless it has been and nothing was left behind: the sweep's tags, its leaderboard."""
        board = leaderboard.make(find_root(), self.sweep)
        leaderboard.write(board)
        server = tracking.server_name(main_root())
        told = self.sweep.published == server and self.sweep.told == leaderboard.digest(board)
        if told and tracking.exists(main_root()) and not running.left_behind(main_root()):
            return
        idle = (worker for worker in self.workers if worker.idle and worker.process.is_alive())
        worker = next(idle, None) or self._worker()
        worker.give("publish", publish_board, board)
        self.sweep.link = self._answer(worker, UNTOLD) or ""
        self.sweep.published, self.sweep.told = (server, leaderboard.digest(board)) if self.sweep.link else ("", "")
        self.sweep.write()

    def _answer(self, worker: Worker, outcome: str) -> Any:
        answer = worker.answer()
        if answer.failure:
            tracking.warn(RunError(answer.failure), outcome)
        return answer.value

    def end(self) -> None:
        end(self.workers)

    def _running(self) -> list[Job]:
        return [worker.task for worker in self.workers if isinstance(worker.task, Job)]

    def _free(self, job: Job) -> Worker | None:
        """An idle worker that computes with the job's number of threads; one that is at work elsewhere is left so."""
        threads = job.config.train.threads
        idle = [worker for worker in self.workers if worker.idle]
        for worker in idle:
            if worker.process.is_alive() and self.uses.setdefault(worker, threads) == threads:
                return worker
        if len(self.workers) == self.count and idle:
            end(idle[:1])
            self._forget(idle[0])
        return self._worker(threads) if len(self.workers) < self.count else None

    def _worker(self, threads: int | None = None) -> Worker:
        worker = Worker()
        self.workers.append(worker)
        if threads:
            self.uses[worker] = threads
        return worker

    def _take(self, worker: Worker) -> None:
        job, answer = worker.task, worker.answer()
        if isinstance(job, Job):
            if answer.failure:
                self.sweep.failures[str(job.number)] = answer.failure
                self.sweep.write()
            self.progress.end(job, answer)
        if not answer.alive:
            self._forget(worker)

    def _forget(self, worker: Worker) -> None:
        self.workers.remove(worker)
        self.uses.pop(worker, None)


def _warm_up(tracked: bool) -> None:
    import epochwise.evaluation.evaluate
    import epochwise.training.loop  # noqa: F401

    if tracked:
        tracking.preload()


def _run_job(context: HydraContext, config: DictConfig, log: Path) -> None:
    """One job, as Hydra's launchers run it, in this worker. What it says goes to `log`."""
    from hydra.core.utils import run_job, setup_globals

    from epochwise.sweeps.command import job

    with _said_to(log):
        try:
            setup_globals()
            run_job(job, config, "hydra.sweep.dir", "hydra.sweep.subdir", context).return_value  # noqa: B018
        except BaseException:
            traceback.print_exc()
            raise


@contextmanager
def _said_to(log: Path) -> Iterator[None]:
    """Append to `log` what this process and native code in it write."""
    log.parent.mkdir(parents=True, exist_ok=True)
    saved = os.dup(1), os.dup(2)
    with open(log, "ab") as stream:
        for number in (1, 2):
            os.dup2(stream.fileno(), number)
    try:
        yield
    finally:
        for number, stream in ((1, sys.stdout), (2, sys.stderr)):
            stream.flush()
            os.dup2(saved[number - 1], number)
            os.close(saved[number - 1])


def _fetch(cfg: DictConfig, wanted: dict[str, Path]) -> dict[str, Path]:
    return fetch_finished(tracking.Server(main_root()), cfg.tracking.experiment, wanted)


def publish_board(board: leaderboard.Board) -> str:
    """The sweep and its leaderboard to MLflow, runs whose process is gone settled; the link."""
    try:
        server = tracking.Server(main_root())
        server.ping()  # else each run that was left behind would wait for an answer, too
        running.settle(main_root(), server)
        return publish(server, board)
    except Exception as error:  # see tracking.Server
        raise RunError(tracking.reason(error)) from error


class _Progress:
    """What is said of a sweep while it runs: each job that ends, and how far all is, on a terminal in one line."""

    def __init__(self, jobs: list[Job], had: int, workers: int):
        self.jobs, self.had, self.workers = jobs, had, workers
        self.started: dict[int, float] = {}
        self.overheads: list[float] = []
        self.told = time.monotonic()
        self.done = self.failed = 0
        self.left = to_train(jobs)
        self.console = Console(highlight=False, soft_wrap=True)
        self.status = self.console.status("")
        alone = sum(job.config.train.epochs for job in jobs)
        print(
            f"{len(jobs)} of {len(jobs) + had} runs to run on {workers} worker{'s' * (workers > 1)}; "
            f"epochs to train for them: {self.left}, {alone} if each were alone",
            flush=True,
        )

    @contextmanager
    def shown(self) -> Iterator[None]:
        if self.console.is_terminal and self.jobs:
            with self.status:
                yield
        else:
            yield

    def start(self, job: Job) -> None:
        self.started[job.number] = time.monotonic()

    def end(self, job: Job, answer: Answer) -> None:
        costs = self._costs(job)
        took = time.monotonic() - self.started[job.number]
        if answer.failure:
            self.failed += 1
            said = f"failed: {job.name}: {answer.failure} (log: {_short(job.folder / sweepdir.LOG)})"
        else:
            self.done += 1
            self.overheads.append(took - costs["train_seconds"])
            trained, reused = costs["epochs_trained"], costs["epochs_reused"]
            said = f"done: {job.name} · epochs: {trained} trained, {reused} reused · {took:.0f} s"
        count = f"{self.done + self.failed + self.had} of {len(self.jobs) + self.had}"
        self.console.print(f"{said} · {count}", markup=False)

    def update(self, running_jobs: list[Job], waiting: list[Job]) -> None:
        self.left = to_train([*running_jobs, *waiting])
        if self.console.is_terminal:
            self.status.update(self.line(running_jobs, waiting))
        elif running_jobs and time.monotonic() > self.told + TELL:
            print(self.line(running_jobs, waiting), flush=True)
            self.told = time.monotonic()

    def line(self, running_jobs: list[Job], waiting: list[Job]) -> str:
        costs = [self._costs(job) for job in self.jobs if job.number in self.started]
        trained, reused = (sum(cost[f"epochs_{what}"] for cost in costs) for what in ("trained", "reused"))
        seconds = self._seconds_left(costs, trained, len(running_jobs) + len(waiting))
        return (
            ("" if seconds is None else f"about {_duration(seconds)} left · ")
            + f"{self.done + self.had} of {len(self.jobs) + self.had} done · {len(running_jobs)} running · "
            f"{self.failed} failed · epochs: {trained} trained, {reused} reused, {self.left} to train"
        )

    def _seconds_left(self, costs: list[dict], trained: int, jobs: int) -> float | None:
        """What is left to train and to run, at the pace so far; None before there is one."""
        if not trained if self.left else not self.overheads:
            return None
        an_epoch = sum(cost["train_seconds"] for cost in costs) / trained if trained else 0
        around_it = sum(self.overheads) / len(self.overheads) if self.overheads else 0
        return (self.left * an_epoch + jobs * around_it) / min(self.workers, max(1, jobs))

    def _costs(self, job: Job) -> dict:
        none = {"epochs_trained": 0, "epochs_reused": 0, "train_seconds": 0.0}
        try:
            return rundir.read_record(job.folder)
        except InputError:  # not there yet
            return none


def cores() -> int:
    """The cores that this process may use: its affinity and its container's share are respected."""
    import joblib

    return joblib.cpu_count()


def _short(path: Path) -> str:
    return str(path.relative_to(find_root()) if path.is_relative_to(find_root()) else path)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
