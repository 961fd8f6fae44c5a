"""What tests of sweeps share: points, sweeps and finished run directories that are made by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import A_RECORD

from epochwise.common.files import write_json, write_text
from epochwise.runs.directory import RunDirectory
from epochwise.sweeps.record import Point, SweepRecord
from epochwise.training.history import COLUMNS, summarize

PARAMETERS = {"seed": 0, "prepare.validation_size": 300, "model.dense_dropout": 0.5, "train.epochs": 2}


@pytest.fixture
def bare_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What makes `tmp_path` the root of a project: paths are printed relative to it."""
    (tmp_path / "params.yaml").touch()
    (tmp_path / "conf").mkdir()
    monkeypatch.chdir(tmp_path)


def point(job: int, **different: Any) -> Point:
    """A point with parameters that differ from PARAMETERS; in their keys `__` stands for the dot."""
    parameters = PARAMETERS | {key.replace("__", "."): value for key, value in different.items()}
    name = " ".join(f"{key.split('__')[-1]}={value}" for key, value in different.items())
    return Point(job, name, [], parameters, f"fingerprint {job}", "data")


def twin_of(other: Point, job: int, name: str) -> Point:
    """Another point of the grid that is the very same run."""
    return replace(other, job=job, name=name)


def make_sweep(root: Path, varied: list[str], *points: Point, **more: Any) -> SweepRecord:
    """A sweep of these points in multirun/day/time, as it is read from disk."""
    folder = root / "multirun/day/time"
    folder.mkdir(parents=True, exist_ok=True)
    values = {"validates_on_test": False, "reuse": True} | more
    SweepRecord(folder, "day_time", "epochwise run -m …", "epochwise", varied, list(points), **values).write()
    return SweepRecord.read(folder)


def finish(
    folder: Path,
    number: int,
    val_accuracy: float = 0.9,
    test_accuracy: float = 0.9,
    val_loss: float = 0.1,
    trajectory: str | None = None,
    epochs: int = 2,
    **more: Any,
) -> None:
    """A finished run's directory, as far as a leaderboard reads it. run.json is written last, as a run does."""
    run = RunDirectory(folder)
    folder.mkdir(parents=True, exist_ok=True)
    values = 0.2, 0.8, val_loss, val_accuracy
    history = [dict(zip(COLUMNS, (epoch, *values), strict=True)) for epoch in range(1, epochs + 1)]
    run.write_history(history)
    write_json(run.metrics, summarize(history) | {"test_loss": 0.1, "test_accuracy": test_accuracy})
    for path in (run.config, run.model):
        path.touch()
    own = {"run_id": f"run{number}", "fingerprint": f"fingerprint {number}", "epochs": epochs}
    write_json(run.record, A_RECORD | own | {"trajectory": trajectory or str(number)} | more)


def make_search(root: Path) -> SweepRecord:
    """A search that has ended: of three settings 0.2 and 0.1 went on, and in the end 0.1 is the best, with less."""
    grid = [(1, 0.1), (1, 0.2), (1, 0.3), (2, 0.1), (2, 0.2)]
    points = [point(job, train__epochs=epochs, model__dense_dropout=d) for job, (epochs, d) in enumerate(grid)]
    points = [replace(one, parameters=one.parameters | {"model.dense_units": 128 + one.job % 3}) for one in points]
    search = {"proposals": "grid", "rungs": [1, 2], "eta": 2, "keep_ties": True, "candidates": ""}
    varied = ["train.epochs", "model.dense_dropout", "model.dense_units"]
    sweep = make_sweep(root, varied, *points, search=search, search_ended=True)
    for job, correct in enumerate((285, 286, 200, 279, 278)):
        finish(sweep.folder / str(job), job, correct / 300, epochs=grid[job][0])
        predict(sweep.folder / str(job), correct)
    return sweep


def predict(folder: Path, correct: int, images: int = 300, first: int = 0) -> None:
    """What a run makes of the validation images: so many are correct, from the image `first` on."""
    lines = ["1,1" if first <= image < first + correct else "1,0" for image in range(images)]
    write_text(folder / "validation_predictions.csv", "\n".join(["actual,predicted", *lines]) + "\n")
