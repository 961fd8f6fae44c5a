"""What is printed while a sweep runs: a line for each job that ends, and how far the sweep is."""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from epochwise.common.errors import InputError
from epochwise.common.paths import display_path
from epochwise.common.terminal import Terminal
from epochwise.common.wording import counted, duration
from epochwise.runs.record import RunRecord
from epochwise.sweeps.directory import log_file
from epochwise.sweeps.scheduler import Job, Queue, StoreView, count_untrained, may_end_early

PROGRESS_INTERVAL = 60.0  # seconds between progress lines when stdout is not a terminal


class SweepProgress:
    """On a terminal the progress is one line that is kept up to date; elsewhere it is a new line now and then."""

    def __init__(self, jobs: Sequence[Job], finished: int, workers: int, where: str = "") -> None:
        """`jobs` are to be run by as many `workers`; `finished` counts the runs that are finished already.

        `where` says in words where they are run, if the number of workers does not.
        """
        self.workers, self.finished, self.total = workers, finished, finished + len(jobs)
        self.done = self.failed = 0
        self.started: dict[int, float] = {}  # when each job was given to a worker, in seconds since 1970
        self.ended: list[RunRecord | None] = []
        self.overheads: list[float] = []  # seconds that a job took beside its training
        self.last_line = time.monotonic()
        self.console = Terminal()
        self.on_terminal = self.console.is_terminal and bool(jobs)
        columns = SpinnerColumn(), BarColumn(bar_width=20), TextColumn("{task.description}", markup=False)
        self.bar = Progress(*columns, console=self.console, transient=True, refresh_per_second=4)
        self.task = self.bar.add_task("", total=len(jobs))
        print(_plan(jobs, finished, where or f"on {counted(workers, 'worker')}"), flush=True)

    def displayed(self) -> AbstractContextManager[object]:
        """Show the line on a terminal as long as this context lasts."""
        return self.bar if self.on_terminal else nullcontext()

    def start(self, job: Job) -> None:
        self.started[job.number] = time.time()

    def end(self, job: Job, failure: str) -> None:
        """Print how a job ended. Without a `failure` it is done."""
        seconds = time.time() - self.started[job.number]
        record = self._record(job)
        self.ended.append(record)
        if failure:
            self.failed += 1
            log = log_file(job.run)
            text = f"failed: {job.name}: {failure}" + (f" (log: {display_path(log)})" if log.is_file() else "")
        else:
            self.done += 1
            trained, reused = (record.epochs_trained, record.epochs_reused) if record else (0, 0)
            self.overheads.append(seconds - (record.train_seconds if record else 0))
            text = f"done: {job.name} · epochs: {trained} trained, {reused} reused · {duration(seconds)}"
        count = f"{self.done + self.failed + self.finished} of {self.total}"
        self.console.print(f"{text} · {count}", markup=False)

    def update(self, queue: Queue) -> None:
        """Bring the line up to date, or print one if it is time. Called about once a second."""
        if self.on_terminal:
            done = self.done + self.failed
            self.bar.update(self.task, completed=done, description=self._line(queue))
        elif queue.running and time.monotonic() > self.last_line + PROGRESS_INTERVAL:
            print(self._line(queue), flush=True)
            self.last_line = time.monotonic()

    def _line(self, queue: Queue) -> str:
        running = queue.running
        records = [record for record in (*self.ended, *map(self._record, running)) if record]
        trained = sum(record.epochs_trained for record in records)
        reused = sum(record.epochs_reused for record in records)
        untrained, at_most = queue.count_untrained(), _at_most(queue.may_end_early())
        seconds = self._seconds_left(records, untrained, len(running) + len(queue.waiting))
        estimate = "" if seconds is None else f"{at_most}about {_time_left(seconds)} left · "
        return (
            f"{estimate}{self.done + self.finished} of {self.total} done · {len(running)} running · "
            f"{self.failed} failed · epochs: {trained} trained, {reused} reused, {at_most}{untrained} to train"
        )

    def _seconds_left(self, records: Sequence[RunRecord], untrained: int, jobs: int) -> float | None:
        """How long the untrained epochs of as many `jobs` will take, at the pace so far; None before there is one."""
        trained = sum(record.epochs_trained for record in records)
        if not (trained if untrained else self.overheads):
            return None
        an_epoch = sum(record.train_seconds for record in records) / trained if trained else 0
        around_it = sum(self.overheads) / len(self.overheads) if self.overheads else 0
        return (untrained * an_epoch + jobs * around_it) / min(self.workers, max(1, jobs))

    def _record(self, job: Job) -> RunRecord | None:
        """The record of a job's run; None if there is none yet, or only that of an earlier attempt."""
        try:
            record = job.run.read_record()
        except InputError:
            return None
        return record if (record.started or 0) >= int(self.started[job.number] * 1000) else None


def _plan(jobs: Sequence[Job], finished: int, where: str) -> str:
    """A sentence on what is going to be run."""
    total, view = len(jobs) + finished, StoreView(whole=True)
    runs = counted(total, "run")
    if not jobs:
        return f"{runs}, already finished"
    untrained, alone = count_untrained(jobs, view), sum(view.ends(job)[1] for job in jobs)
    at_most = _at_most(may_end_early(jobs, view))
    sharing = f" ({alone} if no epochs were shared)" if alone != untrained else ""
    what = f", {finished} of them already finished; {len(jobs)} to run {where}" if finished else f" {where}"
    return f"{runs}{what}: {at_most}{counted(untrained, 'epoch')} to train{sharing}"


def _at_most(early: bool) -> str:
    """What stands before a number of epochs or seconds if the patience of a job may spare some of them."""
    return "at most " if early else ""


def _time_left(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
