"""`dvc exp run` in the workspace, in a copy and from the queue: its own parameters, its own code, runs kept."""

import mlflow
import numpy as np
import pytest
from mlflow.entities import RunStatus

from epochwise.common.files import read_json
from epochwise.evaluation.file_names import SHOWN


def runs(project) -> dict[str, mlflow.entities.Run]:
    """MLflow's runs by their train.epochs."""
    client = mlflow.MlflowClient(f"sqlite:///{project.path / 'mlflow.db'}")
    found = client.search_runs([client.get_experiment_by_name("epochwise").experiment_id])
    return {run.data.params["train.epochs"]: run for run in found}


def assert_whole(project, run, epochs: int) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{project.path / 'mlflow.db'}")
    assert RunStatus.from_string(run.info.status) == RunStatus.FINISHED
    assert len(client.get_metric_history(run.info.run_id, "val_accuracy")) == epochs
    assert 0.1 < run.data.metrics["test_accuracy"] <= 1
    drawn = client.list_artifacts(run.info.run_id, "evaluation")
    assert {item.path for item in drawn} == {f"evaluation/{name}" for name in SHOWN}
    for item in drawn:
        assert (project.path / "mlruns" / "epochwise" / run.info.run_id / "artifacts" / item.path).is_file()


@pytest.mark.slow
def test_in_the_workspace(project):
    project.ok("dvc", "exp", "run", "-S", "train.epochs=3")
    (run,) = runs(project).values()
    assert_whole(project, run, 3)
    assert run.info.run_id == read_json(project.path / "models/run.json")["run_id"]
    assert (run.info.run_name, run.data.tags["overrides"]) == ("epochs=3", "train.epochs=3")
    assert run.data.tags["dvc.experiment"] in project.ok("dvc", "exp", "list", "--name-only")
    assert run.data.tags["git.dirty"] == "true"
    params = (project.path / "params.yaml").read_text()
    assert "epochs: 3" in params
    assert "# Adam's default" in params


@pytest.mark.slow
def test_temporary_copy_runs_its_own_parameters_and_code(project):
    project.edit("src/epochwise/pipeline/recorded_run.py", 'print(f"epoch ', "print(f\"the copy's epoch ")
    printed = project.ok("dvc", "exp", "run", "--temp", "-S", "train.epochs=1", "-S", "seed=5")
    assert "the copy's epoch 1/1" in printed
    (run,) = runs(project).values()
    assert_whole(project, run, 1)
    assert run.data.params["seed"] == "5"
    assert not (project.path / "models").exists()
    assert "epochs: 2" in (project.path / "params.yaml").read_text()


@pytest.mark.long
def test_queued_experiments_run_as_they_were_queued(project):
    project.ok("dvc", "exp", "run", "--queue", "-S", "train.epochs=1,3")
    project.edit(
        "src/epochwise/training/loop.py", "class Training:", "raise SystemExit('edited since')\n\n\nclass Training:"
    )
    project.ok("dvc", "exp", "run", "--run-all", "--jobs", "1")
    kept = runs(project)
    assert sorted(kept) == ["1", "3"]
    for epochs, run in kept.items():
        assert_whole(project, run, int(epochs))
        assert run.info.run_name == f"epochs={epochs}"
    assert len({run.data.tags["weights_sha256"] for run in kept.values()}) == 2


@pytest.mark.parametrize(
    "options", [pytest.param(("--temp",), marks=pytest.mark.slow), pytest.param(("--queue",), marks=pytest.mark.long)]
)
def test_data_that_git_does_not_track_is_found_by_its_relative_path(project, options):
    """DVC's copy of the project has tracked files only."""
    (project.path / "data").mkdir()
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (340, 8, 8), np.uint8), np.arange(340) % 4
    arrays = {"x_train": images[:300], "y_train": labels[:300], "x_test": images[300:], "y_test": labels[300:]}
    np.savez(project.path / "data/own.npz", **arrays)
    (project.path / "data/classes.txt").write_text("a\nb\nc\nd\n")
    source = ("-S", "prepare.source=data/own.npz", "-S", "prepare.validation_size=100", "-S", "train.epochs=1")
    project.ok("dvc", "exp", "run", *options, *source)
    if options == ("--queue",):
        project.ok("dvc", "exp", "run", "--run-all", "--jobs", "1")
    (run,) = runs(project).values()
    assert_whole(project, run, 1)
    assert run.data.params["prepare.source"] == "data/own.npz"
