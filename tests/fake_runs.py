"""Runs of a sweep that train nothing: what each reaches is a function of its parameters, so that tests can tell it.

The model.dense_units of a run are the validation images, of 300, that it classifies correctly; odd ones get 3 more with
each epoch. The first ones are correct, so two runs differ by more than chance if their numbers do by 5 or more.
Their states say that no epoch has reached more than another one, so a patience of n ends a run after n + 1.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import Project
from made_sweeps import finish, predict
from omegaconf import DictConfig

from epochwise.common.errors import DivergedError
from epochwise.common.paths import find_root
from epochwise.common.worker import TaskResult
from epochwise.config.schema import parameters
from epochwise.pipeline.datasets import prepared_for
from epochwise.pipeline.directories import state_store
from epochwise.runs.directory import RunDirectory
from epochwise.runs.record import FAILED
from epochwise.sweeps import executor, leaderboard_files
from epochwise.sweeps.scheduler import epochs_to_train
from epochwise.training.history import COLUMNS
from epochwise.trajectory.ending import last_epoch
from epochwise.trajectory.identity import fingerprint, segments, trajectory_key
from epochwise.trajectory.states import StateStore

IMAGES = 300
DIVERGES, DIVERGES_LATER = 13, 201  # model.dense_units of runs that diverge; those of 201 in the second epoch
IS_KILLED = "killed once"  # a file in the project with the model.dense_units of a run
DIVERGED = "diverged.txt"  # of the project: a line for each run that has diverged
TRAINED = "trained.txt"  # of the project: a line for each run with its directory and how many epochs it trained


def correct_images(units: int, epochs: int) -> int:
    return units + (3 * epochs if units % 2 else 0)


def fake_run(context: Any, cfg: DictConfig, log: Path) -> None:
    """A run that is finished at once, with the states that a training would leave."""
    folder, root, store = log.parent, find_root(), state_store(cfg)
    values, data = parameters(cfg), prepared_for(cfg).sha256
    units, row = cfg.model.dense_units, dict.fromkeys(COLUMNS, 0.0)
    epochs = last_epoch([row] * cfg.train.epochs, cfg.train.epochs, cfg.train.patience)
    folder.mkdir(parents=True, exist_ok=True)
    (segment,) = segments(values, data)
    trained = epochs_to_train(values | {"train.epochs": epochs, "train.patience": None}, data, store)
    identity = {"fingerprint": fingerprint(values, data), "identity": segment.identity, "data_sha256": data}
    if (root / IS_KILLED).exists() and int((root / IS_KILLED).read_text()) == units:
        (root / IS_KILLED).unlink()
        raise Killed
    if units == DIVERGES or (units == DIVERGES_LATER and epochs > 1):
        with open(root / DIVERGED, "a") as stream:
            stream.write(f"{folder.relative_to(root)}\n")
        finish(folder, int(folder.name), epochs=epochs, **identity)
        failure = f"{DivergedError.__name__}: training diverged"
        run = RunDirectory(folder)
        run.write_record(replace(run.read_record(), status=FAILED, failure=failure))
        raise DivergedError("training diverged")
    for epoch in range(epochs - trained + 1, epochs + 1):
        if store:
            StateStore(store, segment.identity, 1).write([], [row] * epoch, [0.0] * epoch)
    correct = correct_images(units, epochs)
    predict(folder, correct, IMAGES)
    with open(root / TRAINED, "a") as stream:
        stream.write(f"{folder.relative_to(root)} {trained}\n")
    more = {"epochs_trained": trained, "epochs_reused": epochs - trained, "started": 1, "ended": 2}
    finish(
        folder,
        int(folder.name),
        correct / IMAGES,
        epochs=epochs,
        trajectory=trajectory_key(segment.identity),
        **identity,
        **more,
    )


def do_nothing(*_: object) -> None:
    """What a worker imports for runs that train nothing, and what draws a picture."""


class Killed(BaseException):
    """Ends a worker process as kill -9 does."""


class InlineWorker:
    """A worker that runs its tasks in this process as soon as it gets them: a new process takes seconds."""

    def __init__(self, after_task: Callable[[], None] | None = None) -> None:
        self.task: Any = None
        self.process = SimpleNamespace(is_alive=lambda: True)

    @property
    def idle(self) -> bool:
        return self.task is None

    def submit(self, task: Any, function: Callable[..., Any], *arguments: Any) -> None:
        self.task = task
        try:
            self.ended = TaskResult(function(*arguments))
        except Killed:
            self.ended = TaskResult(None, "its process was killed by SIGKILL", alive=False)
        except Exception as error:
            self.ended = TaskResult(None, str(error))

    def result(self) -> TaskResult:
        self.task = None
        return self.ended


def busy(workers: list[InlineWorker], _: float) -> list[InlineWorker]:
    """The workers that have a result; that of the last one comes first."""
    return [worker for worker in reversed(workers) if not worker.idle]


@pytest.fixture
def faked(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose sweeps run `fake_run` in this process, and draw no pictures."""
    for module, name, fake in (
        (executor, "run_in_worker", fake_run),
        (executor, "warm_up", do_nothing),
        (executor, "Worker", InlineWorker),
        (executor, "stop", do_nothing),
        (executor, "wait_for_results", busy),
        (leaderboard_files, "_draw", do_nothing),
        (leaderboard_files, "write_report", do_nothing),
    ):
        monkeypatch.setattr(module, name, fake)
    return project


def trained_epochs(root: Path) -> list[int]:
    """How many epochs each run has trained, in the order in which they ended."""
    path = root / TRAINED
    return [int(line.rpartition(" ")[2]) for line in path.read_text().splitlines()] if path.exists() else []
