"""Run the jobs of a sweep in worker processes: what is finished is not run again, and no failure stops the others."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from epochwise.common.errors import RunError, one_line
from epochwise.common.files import write_text
from epochwise.common.paths import display_path, find_root, main_root
from epochwise.common.worker import Worker, stop, wait_for_results
from epochwise.config.schema import run_setting_keys
from epochwise.pipeline.directories import state_store
from epochwise.runs.active_runs import orphans
from epochwise.runs.directory import RunDirectory
from epochwise.sweeps.cores import worker_count
from epochwise.sweeps.directory import EndedRuns, ended_runs, failure_file, log_file
from epochwise.sweeps.job import free_memory, run_in_worker, warm_up
from epochwise.sweeps.leaderboard import make_leaderboard
from epochwise.sweeps.progress import SweepProgress
from epochwise.sweeps.publication import NOT_PUBLISHED, connect_and_publish
from epochwise.sweeps.record import Point, SweepRecord
from epochwise.sweeps.scheduler import Job, Queue, distinct
from epochwise.sweeps.table import digest
from epochwise.tracking.address import server_name, store_exists
from epochwise.tracking.download import fetch_finished
from epochwise.tracking.redacted_errors import warn
from epochwise.tracking.server import Server

POLL_INTERVAL = 1.0  # seconds between two looks at how far the running jobs are


class SweepExecutor:
    """The jobs of a sweep and the worker processes that run them, `n_jobs` at once; -1 stands for as many as fit.

    Why a job failed is written to its run directory at once, and to sweep.json at the end.
    """

    def __init__(
        self, sweep: SweepRecord, n_jobs: int, context: HydraContext, compose: Callable[[int], DictConfig]
    ) -> None:
        """`compose` gives Hydra's configuration of the job with this number. It takes about 0.1 s."""
        self.sweep, self.n_jobs, self.context, self.compose = sweep, n_jobs, context, compose
        self.size = 0  # how many workers there may be
        self.settings: dict[str, Any] = {}  # what changes no result: tracking, reuse of states and the like
        self.composed: dict[int, DictConfig] = {}  # of a job that is not started yet
        self.workers: list[Worker] = []
        self.threads: dict[Worker, int] = {}  # train.threads of its jobs, which a process can set only once

    def execute(self, numbers: Collection[int]) -> None:
        """Run those of the jobs with these numbers that are not finished, then publish the sweep.

        KeyboardInterrupt and SystemExit end the workers, as SIGTERM does.
        """
        try:
            self.run(numbers)
            self.publish_if_needed()
        finally:
            self.stop_workers()

    def take_over(self, earlier: "SweepExecutor") -> None:
        """Go on with the workers of the executor of an earlier batch: a new process imports TensorFlow for seconds."""
        self.workers, self.threads = earlier.workers, earlier.threads

    def run(self, numbers: Collection[int]) -> None:
        """Run those of the jobs with these numbers that are not finished. The workers stay."""
        # Tracking, reuse of states and `sweep.rerun` cannot be swept, so they are the same for all jobs.
        cfg = self.compose(min(numbers))
        self.settings = {key: OmegaConf.select(cfg, key) for key in run_setting_keys()}
        self.composed = {min(numbers): cfg}
        points = [point for point in self.sweep.points if point.job in numbers]
        ended = EndedRuns({}, {}) if cfg.sweep.rerun else ended_runs(find_root(), self.sweep, points)
        finished, diverged = ended.finished, ended.diverged
        missing = distinct([point for point in points if point.job not in ended])
        refused = {point.job: point.refused for point in points if point.refused}
        kept = {
            job: failure for job, failure in self.sweep.failures.items() if job not in numbers or job in ended.diverged
        }
        self._set_failures(kept | refused)
        self.size = self._count_workers([point.parameters["train.threads"] for point in missing])
        if missing:
            self._warm_up(cfg.tracking.enabled)
            if self._may_fetch(cfg):
                finished |= self._fetch(missing, cfg.tracking.experiment)
        for point in points:
            if point.job in finished:
                print(f"already finished: {point.name} ({display_path(finished[point.job].path)})", flush=True)
            elif point.job in diverged:
                print(f"diverged before: {point.name} ({display_path(diverged[point.job].path)})", flush=True)
        store = state_store(cfg)
        missing = [point for point in missing if point.job not in finished]
        try:
            self._run([Job.of(point, self.sweep.run_directory(point), store) for point in missing], len(finished))
        finally:
            if self.sweep.failures != kept | refused:
                self._set_failures(self.sweep.failures)

    def publish_if_needed(self) -> None:
        """Bring MLflow up to date with the sweep, if it is tracked and not published as it is now."""
        self.sweep = SweepRecord.read(self.sweep.folder)  # a search has ended since the last jobs were run
        if self.settings["tracking.enabled"] and not self._is_published():
            self._publish()

    def stop_workers(self) -> None:
        stop(self.workers)

    def _may_fetch(self, cfg: DictConfig) -> bool:
        """Whether MLflow may have runs of the sweep. It knows runs by the fingerprints of their own processors only."""
        wanted = self.sweep.reuse and not cfg.sweep.rerun and not cfg.sweep.mixed
        return bool(cfg.tracking.enabled and wanted and store_exists(main_root()))

    def _count_workers(self, threads: Sequence[int]) -> int:
        """How many workers there may be for jobs that compute with these numbers of threads."""
        return worker_count(self.n_jobs, threads)

    def _set_failures(self, failures: dict[int, str]) -> None:
        self.sweep = replace(self.sweep, failures=failures).write()

    def _warm_up(self, tracked: bool) -> None:
        surplus = [worker for worker in self.workers if worker.idle][self.size :]
        stop(surplus)
        for worker in surplus:
            self._forget(worker)
        for _ in range(self.size - len(self.workers)):
            self._new_worker().submit("warm up", warm_up, tracked)

    def _fetch(self, points: Sequence[Point], experiment: str) -> dict[int, RunDirectory]:
        """The runs of `points` that are finished in MLflow only, downloaded from there."""
        wanted = {str(point.fingerprint): self.sweep.run_directory(point).path for point in points}
        worker = Worker(after_task=free_memory)
        try:
            worker.submit("fetch", fetch_in_worker, experiment, wanted)
            fetched = self._result(worker, "runs that are finished in MLflow only are run again") or {}
        finally:
            stop([worker])
        return {point.job: self.sweep.run_directory(point) for point in points if point.fingerprint in fetched}

    def _run(self, jobs: Sequence[Job], finished: int) -> None:
        progress, queue = SweepProgress(jobs, finished, self.size), Queue(jobs)
        with progress.displayed():
            while queue.waiting or queue.running:
                while job := self._next_job(queue):
                    queue.start(job)
                    progress.start(job)
                    failure = self._start(job)
                    if failure:
                        self._end(queue, progress, job, failure)
                progress.workers = self.size
                progress.update(queue)
                for worker in self._wait(POLL_INTERVAL):
                    self._take_result(worker, queue, progress)

    def _next_job(self, queue: Queue) -> Job | None:
        """The job to start now; None if no worker is free, or each job would wait for a running one."""
        return queue.next() if self._has_room() else None

    def _wait(self, seconds: float) -> Sequence[Worker]:
        """The workers that have a result, after waiting at most `seconds` for the first one."""
        return wait_for_results(self.workers, seconds)

    def _start(self, job: Job) -> str:
        """Give a job to a worker; returns why it cannot be run, if so."""
        try:
            cfg = self.composed.pop(job.number, None) or self.compose(job.number)
        except Exception as error:  # Hydra's, OmegaConf's and the YAML parser's, if a file in conf/ was changed
            return f"its configuration cannot be composed any more: {one_line(error)}"
        changed = [key for key, value in self.settings.items() if OmegaConf.select(cfg, key) != value]
        if changed:
            return f"{', '.join(changed)}: changed in conf/ while the sweep ran; start it again"
        self._submit(job, cfg)
        return ""

    def _submit(self, job: Job, cfg: DictConfig) -> None:
        self._idle_worker(job.threads).submit(job, run_in_worker, self.context, cfg, log_file(job.run))

    def _take_result(self, worker: Worker, queue: Queue, progress: SweepProgress) -> None:
        job, result = worker.task, worker.result()
        if not result.alive:
            self._forget(worker)
        if isinstance(job, Job):
            self._end(queue, progress, job, result.failure)

    def _end(self, queue: Queue, progress: SweepProgress, job: Job, failure: str) -> None:
        """A job is over; without a `failure` it is done."""
        if failure:
            # In a file of its own first: sweep.json holds all points, and would be written for each that fails.
            write_text(failure_file(job.run), failure + "\n")
            self.sweep = replace(self.sweep, failures=self.sweep.failures | {job.number: failure})
        queue.end(job)
        progress.end(job, failure)

    def _is_published(self) -> bool:
        """Whether MLflow was brought up to date with the sweep before, and no run was killed since."""
        root = main_root()
        if self.sweep.published != server_name(root) or not store_exists(root) or orphans(root):
            return False
        return self.sweep.published_digest == digest(make_leaderboard(find_root(), self.sweep))

    def _publish(self) -> None:
        worker = self._worker_for_publishing()
        worker.submit("publish", connect_and_publish, self.sweep)
        self.sweep = self._result(worker, NOT_PUBLISHED) or self.sweep.unpublished()
        self.sweep.write()

    def _worker_for_publishing(self) -> Worker:
        idle = (worker for worker in self.workers if worker.idle and worker.process.is_alive())
        return next(idle, None) or self._new_worker()

    def _result(self, worker: Worker, outcome: str) -> Any:  # noqa: ANN401
        """What the worker's task returned. If it failed, print a warning that says what follows, and return None."""
        result = worker.result()
        if result.failure:
            warn(RunError(result.failure), outcome)
        return result.value

    def _has_room(self) -> bool:
        return len(self.workers) < self.size or any(worker.idle for worker in self.workers)

    def _idle_worker(self, threads: int) -> Worker:
        """An idle worker that computes with this number of threads: one that there is, or a new one.

        If there are as many workers as there may be, an idle one that computes with another number is ended first.
        """
        idle = [worker for worker in self.workers if worker.idle]
        for worker in idle:
            if worker.process.is_alive() and self.threads.setdefault(worker, threads) == threads:
                return worker
        if len(self.workers) >= self.size:
            stop(idle[:1])
            self._forget(idle[0])
        worker = self._new_worker()
        self.threads[worker] = threads
        return worker

    def _new_worker(self) -> Worker:
        worker = Worker(after_task=free_memory)
        self.workers.append(worker)
        return worker

    def _forget(self, worker: Worker) -> None:
        self.workers.remove(worker)
        self.threads.pop(worker, None)


def fetch_in_worker(experiment: str, wanted: dict[str, Path]) -> dict[str, Path]:
    """Download the finished runs among `wanted`, a folder by fingerprint; returns those that were found."""
    return fetch_finished(Server(main_root()), experiment, wanted)
