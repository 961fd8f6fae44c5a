"""MLflow told of a run while it is at work, by a thread of its own, so that no fault of MLflow's holds up a training.

What MLflow has not been told by the end is on disk, and `epochwise publish` tells it later.
"""

import threading
from contextlib import suppress
from pathlib import Path

from omegaconf import DictConfig

from epochwise.common.files import read_json, write_json
from epochwise.runs import directory as rundir
from epochwise.tracking import orphans as running
from epochwise.tracking import server as tracking
from epochwise.tracking.run_mirror import View

PAUSE = 20.0  # seconds after a failure before MLflow is tried again
LAST_WORD = 60.0  # seconds that a run's end waits at most; a call without an answer takes 10, a locked database 20


class Live:
    """The thread that keeps MLflow level with a run directory, and what it has come to."""

    def __init__(self, root: Path, cfg: DictConfig, folder: Path, reports: Path | None = None):
        self.root, self.cfg, self.folder, self.reports = root, cfg, folder, reports
        self.view: View | None = None
        self.published = False  # whether MLflow has all of the run
        self._warned = False
        self._final: dict | None = None
        self._news, self._ending = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)

    def start(self) -> None:
        """Begin with what run.json says; nothing happens here or later if tracking is off."""
        if not self.cfg.tracking.enabled:
            return
        try:
            tracking.preload()  # not by the thread: two that import at once can see each other's half-made modules
        except Exception as error:  # whatever is wrong with the installed MLflow
            self._warn(error)
        else:
            self._thread.start()

    def tell(self, record: dict) -> None:
        """Write run.json; MLflow hears of it, and of the files beside it, when it can."""
        self._name(record)
        write_json(self.folder / rundir.RECORD, record)
        self._news.set()

    def end(self, record: dict) -> None:
        """Wait until MLflow has all of the run, which has ended as `record` says, or is given up."""
        self._final = record
        self._ending.set()
        self._news.set()
        if self._thread.is_alive():
            self._thread.join(LAST_WORD)
        if self._thread.is_alive():
            self._warn(TimeoutError(f"no answer for {LAST_WORD:.0f} s"))
        elif self.published and self._warned:
            print("MLflow answers again, and has all of the run")
        self._name(record)

    def _name(self, record: dict) -> None:
        """The run's id is MLflow's from when that is known."""
        if self.view and self.view.run_id and record["run_id"] == record["token"]:
            record["run_id"] = self.view.run_id

    def _work(self) -> None:
        """Bring MLflow level at each piece of news until the last.

        What did not answer is tried again after a pause; but a server that never did is not, if the run ends before.
        """
        while True:
            last = self._ending.is_set()
            try:
                self._level(last)
                self.published = last
            except Exception as error:  # see tracking.Server; or the run directory is gone
                self._warn(error)
                answered = self.view and self.view.experiment_id
                if last and answered:
                    self._end_it()
                if self._ending.wait(PAUSE) and not answered and tracking.is_remote(self.root):
                    return
            if last:
                return
            self._news.wait()
            self._news.clear()

    def _level(self, last: bool) -> None:
        if self.view is None:
            server = tracking.Server(self.root)
            server.ping()  # else each run that was left behind would wait for an answer, too
            running.settle(self.root, server)
            self.view = View(server, self.folder, self.reports)
        record = self._final if last else read_json(self.folder / rundir.RECORD)
        if last or record["status"] == "RUNNING":  # a finished one is told with what evaluate makes of it
            self.view.level(record)

    def _end_it(self) -> None:
        """At least how the run ended, if MLflow takes no more than that."""
        about = (self._final[key] for key in ("experiment", "token", "status", "ended", "failure"))
        with suppress(Exception):  # it was warned of
            self.view.server.end_left(*about)

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            tracking.warn(error, "going on without it; results are on disk, `epochwise publish` tells it of them")
        self._warned = True
