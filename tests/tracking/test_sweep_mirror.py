"""A search in MLflow: which of its runs belong to it, what their tags say, and the run that sums it up."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from mlflow_runs import client, provide_database, untracked_run

from epochwise.config.schema import parameters
from epochwise.sweeps.publication import publish_if_needed
from epochwise.sweeps.record import Point, SweepRecord
from epochwise.tracking.server import Server
from epochwise.tracking.sweep_mirror import view_state

SEARCH = {"proposals": "grid", "rungs": [1, 2], "eta": 2, "keep_ties": False, "candidates": ""}
OTHER = "another_sweep"


@pytest.fixture
def made(project, tensors) -> SimpleNamespace:
    """A search with two settings on its first rung, of which the first one went on, and its three runs."""
    registry, folder = provide_database(project), project.path / "multirun/day/time"
    points = []
    for job, (epochs, dropout) in enumerate(((1, 0.1), (1, 0.5), (2, 0.1))):
        run = untracked_run(project, f"run {job}")
        values = parameters(run.read_config()) | {"train.epochs": epochs, "model.dense_dropout": dropout}
        names = dict.fromkeys(("run_id", "token", "name", "fingerprint"), f"run{job}")
        run.write_record(replace(run.read_record(), epochs=epochs, trajectory=str(dropout), **names))
        shutil.move(run.path, folder / str(job))
        points.append(Point(job, f"epochs={epochs} dense_dropout={dropout}", [], values, f"run{job}", "d"))
    sweep = SweepRecord(
        folder,
        "day_time",
        "epochwise run -m hydra/sweeper=halving …",
        "epochwise",
        ["train.epochs", "model.dense_dropout"],
        points,
        validates_on_test=False,
        reuse=True,
        search=SEARCH,
    )
    return SimpleNamespace(sweep=sweep, registry=registry, path=project.path)


def runs(path: Path, experiment: str = "epochwise") -> dict:
    """The runs of an experiment by name."""
    found = client(path).get_experiment_by_name(experiment)
    return {run.info.run_name: run for run in client(path).search_runs([found.experiment_id])}


def test_a_search_as_mlflow_shows_it(made):
    """First between two rungs, then when it has ended."""
    begun = replace(made.sweep, points=made.sweep.points[:2])
    published = publish_if_needed(Server(made.path), begun)
    found = runs(made.path)
    assert {name: run.data.tags["sweep.id"] for name, run in found.items()} == {"run0": "day_time", "run1": "day_time"}
    assert found["run1"].data.tags["sweep.dropped_at_epoch"] == "1"
    assert found["run0"].data.tags["sweep.dropped_at_epoch"] == "not dropped"
    (summary,) = runs(made.path, "epochwise-sweeps").values()
    assert summary.info.status == "KILLED" and "the search is not finished" in summary.data.tags["mlflow.note.content"]
    made.registry.set_tag(found["run0"].info.run_id, "sweep.id", f"day_time {OTHER}")

    ended = replace(published, points=made.sweep.points, search_ended=True)
    assert publish_if_needed(Server(made.path), ended)
    tags = {name: run.data.tags for name, run in runs(made.path).items()}
    assert {name: (own["sweep.rung"], own["sweep.dropped_at_epoch"]) for name, own in tags.items()} == {
        "run0": ("1 of 2", "not dropped"),
        "run1": ("1 of 2", "1"),
        "run2": ("2 of 2", "not dropped"),
    }
    assert tags["run0"]["sweep.id"] == OTHER, "its epochs are those of run2, whose curve lies over its own"
    assert tags["run1"]["sweep.id"] == tags["run2"]["sweep.id"] == "day_time"
    (summary,) = runs(made.path, "epochwise-sweeps").values()
    assert (summary.info.status, summary.data.metrics["runs"]) == ("FINISHED", 2)
    note = summary.data.tags["mlflow.note.content"]
    assert "after 1 epoch: 1 of 2 settings went on" in note and "dropped at" in note
    assert summary.data.tags["best.setting"] == "epochs=2 dense_dropout=0.1"


def test_rung_and_end_are_columns_of_the_runs_page():
    columns = view_state("day_time", ["model.dense_dropout"], ["sweep.rung", "sweep.dropped_at_epoch"])
    assert columns["selectedColumns"][:3] == [
        "params.`model.dense_dropout`",
        "tags.`sweep.rung`",
        "tags.`sweep.dropped_at_epoch`",
    ]
