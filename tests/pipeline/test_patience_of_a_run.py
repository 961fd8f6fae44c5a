"""A run that its patience ends: what is printed, and what its record, its metrics and MLflow say."""

import pytest
from conftest import Project
from mlflow_runs import provide_database

from epochwise.common.files import read_json
from epochwise.pipeline.directories import run_directories
from epochwise.runs.directory import RunDirectory
from epochwise.trajectory.ending import last_epoch

pytestmark = pytest.mark.usefixtures("tensors", "plain_pictures")

PATIENT = ("run", "train.epochs=12", "train.patience=1")


def newest(project: Project) -> RunDirectory:
    return next(run_directories(project.path))


@pytest.mark.parametrize("doubled", [False, True])
def test_a_run_says_where_it_ended_and_why(project, doubled):
    more = ("tracking=off", *["prepare.validation_size=0"] * doubled)
    done = project.cli(*PATIENT, *more)
    assert done.returncode == 0, done.stderr
    run = newest(project)
    record, history, metrics = run.read_complete(), run.read_history(), run.read_metrics()
    end = len(history)
    assert end == last_epoch(history, 12, 1) < 12, "the setting of this test must have an epoch without a rise"
    assert ("note: the test set is validation here, so it decides where this run ends" in done.stdout) == doubled
    measured = ", measured on the test set," if doubled else ""
    assert done.stdout.startswith("at most 12 epochs on digits") and "patience 1, seed 0" in done.stdout
    assert (
        f"ended after epoch {end} of at most 12: val_accuracy{measured} was not higher than "
        f"{metrics['best_val_accuracy']:.4f} of epoch {end - 1} for 1 epoch (train.patience)\n" in done.stdout
    )
    assert (record.epochs, record.epochs_trained, metrics["best_epoch"]) == (end, end, end - 1)
    assert metrics["val_accuracy"] == history[-1]["val_accuracy"]
    listed = project.cli("runs", "train.patience=1", "--format", "json")
    assert f'"epochs": {end}' in listed.stdout
    again = project.cli(*PATIENT, *more)
    assert f"epochs 1…{end} of 12 reused" in again.stdout and f"ended after epoch {end} of at most 12" in again.stdout
    assert newest(project).model.read_bytes() == run.model.read_bytes()


def test_mlflow_shows_it(project):
    client = provide_database(project)
    done = project.cli(*PATIENT)
    assert done.returncode == 0, done.stderr
    run = newest(project)
    record, end = run.read_record(), len(run.read_history())
    logged = client.get_run(record.run_id)
    assert logged.data.params["train.patience"] == "1" and logged.data.params["train.epochs"] == "12"
    assert logged.data.tags["ended_early"] == f"after epoch {end}"
    assert logged.data.tags["mlflow.note.content"].startswith("At most 12 epochs on ")
    assert [point.step for point in client.get_metric_history(record.run_id, "val_accuracy")] == [*range(1, end + 1)]
    assert logged.data.metrics["epochs_trained"] == end
    published = project.cli("publish", str(run.path))
    assert f"up to date in MLflow as {record.run_id}" in published.stdout


def test_stages_of_dvc_have_it_too(project):
    project.edit("params.yaml", "patience: null", "patience: 1   ")
    project.edit("params.yaml", "  epochs: 2\n", "  epochs: 12\n")
    for command in ("check", "prepare", "train", "evaluate"):
        done = project.cli(command, "tracking=off")
        assert done.returncode == 0, done.stderr
    metrics, record = (read_json(project.path / name) for name in ("reports/metrics.json", "models/run.json"))
    assert record["epochs"] == metrics["best_epoch"] + 1 < 12
