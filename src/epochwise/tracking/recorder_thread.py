"""Log a run to MLflow while it is at work, in a thread of its own, so that no fault of MLflow holds up a training.

What MLflow lacks at the end of the run is on disk, and `epochwise publish` logs it later.
"""

import threading
from contextlib import suppress
from pathlib import Path

from omegaconf import DictConfig

from epochwise.runs.active_runs import orphans
from epochwise.runs.directory import RunDirectory
from epochwise.runs.record import RUNNING, RunRecord
from epochwise.tracking.address import is_remote
from epochwise.tracking.orphans import end_orphans
from epochwise.tracking.redacted_errors import warn
from epochwise.tracking.run_mirror import RunMirror
from epochwise.tracking.server import Server, preload

REMOTE_PAUSE = 10.0  # seconds between two syncs with a remote server: it has other runs to answer, too
RETRY_PAUSE = 20.0  # seconds after a failure before MLflow is tried again
FINISH_TIMEOUT = 60.0  # seconds that the end of a run waits; one call takes 10 without answer, 20 on a locked database
OUTCOME = "the run goes on without it; the results are on disk, and `epochwise publish` logs them later"


def create_recorder(root: Path, cfg: DictConfig, run: RunDirectory, is_new: bool = False) -> "Recorder | NullRecorder":
    """The recorder of a run, whose directory is `run`; one that does nothing if tracking is off.

    `is_new` says that the run begins only now.
    """
    return Recorder(root, run, is_new) if cfg.tracking.enabled else NullRecorder()


class NullRecorder:
    """Stands for a Recorder where tracking is off."""

    published = False
    run_id: str | None = None
    link = ""

    def start(self) -> None:
        pass

    def notify(self) -> None:
        pass

    def finish(self, record: RunRecord) -> RunRecord:
        return record


class Recorder:
    """A thread that keeps the MLflow run up to date with a run directory. It only reads the directory."""

    def __init__(self, root: Path, run: RunDirectory, is_new: bool) -> None:
        """`root` is the main checkout; `is_new` says that the run begins only now."""
        self.root, self.run, self._is_new = root, run, is_new
        self.published = False  # whether MLflow has all of the run, once that has finished
        self._mirror: RunMirror | None = None
        self._final: RunRecord | None = None  # how the run ended, once it has
        self._complete = False
        self._warned = False
        self._changed, self._finishing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)

    @property
    def run_id(self) -> str | None:
        """MLflow's id of the run, once MLflow has it."""
        return self._mirror.run_id if self._mirror else None

    @property
    def link(self) -> str:
        """The address of the run's page in MLflow; empty while MLflow does not have the run."""
        return self._mirror.link if self._mirror else ""

    def start(self) -> None:
        """Log the run in run.json from now on."""
        try:
            preload()  # not in the thread: of two threads that import at once, one can see half-imported modules
        except Exception as error:  # whatever is wrong with the installed MLflow
            self._warn(error)
        else:
            self._thread.start()

    def notify(self) -> None:
        """Say that run.json, or a file beside it, has changed. Returns at once."""
        self._changed.set()

    def finish(self, record: RunRecord) -> RunRecord:
        """Wait until MLflow has all of the run, which has ended as `record` says, or until it is given up.

        Returns the record with MLflow's id and, if MLflow has all of the run, with the server that has it.
        """
        self._final = record
        self._finishing.set()
        self._changed.set()
        if self._thread.is_alive():
            self._thread.join(FINISH_TIMEOUT)
        if self._thread.is_alive():
            self._warn(TimeoutError(f"no answer for {FINISH_TIMEOUT:.0f} s"))
        else:
            self.published = self._complete
        if self.published and self._warned:
            print("MLflow answers again, and has all of the run")
        if self.published and self._mirror:
            return self._mirror.as_published(record)
        return record.with_mlflow_id(self.run_id)

    def _work(self) -> None:
        """Sync at each change until the run has ended.

        After a failure the next sync waits for RETRY_PAUSE, or for the end of the run. But a remote server that has
        never answered is not asked again at the end of the run.
        """
        while True:
            final = self._final if self._finishing.is_set() else None
            try:
                self._sync(final)
                self._complete = final is not None
            except Exception as error:  # MLflow raises errors of several libraries; or the directory is gone
                self._warn(error)
                answered = self._mirror is not None and self._mirror.experiment_id
                if final and answered:
                    self._end_run(final)
                if self._finishing.wait(RETRY_PAUSE) and not answered and is_remote(self.root):
                    return
            if final:
                return
            if is_remote(self.root):
                self._finishing.wait(REMOTE_PAUSE)
            self._changed.wait()
            self._changed.clear()

    def _sync(self, final: RunRecord | None) -> None:
        if self._mirror is None:
            server = Server(self.root)
            if orphans(self.root):
                server.ping()  # if it does not answer, every orphan would wait for its timeout, too
            end_orphans(self.root, server)
            self._mirror = RunMirror(server, self.run, self._is_new)
        record = final or self.run.read_record()
        if final or record.status == RUNNING:  # while a finished run is evaluated, its results are not complete
            self._mirror.sync(record)

    def _end_run(self, final: RunRecord) -> None:
        """Log at least how the run ended, for the case that MLflow takes no more than that."""
        with suppress(Exception):  # the failure before this one was warned of
            if self._mirror:
                self._mirror.server.end_run(final.experiment, final.token, final.status, final.ended, final.failure)

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            warn(error, OUTCOME)
        self._warned = True
