"""What tests of tracking share: a database with MLflow's tables, a finished run, and what MLflow holds of a run."""

import atexit
import copy
import functools
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import pytest
from conftest import Project
from omegaconf import DictConfig

from epochwise.config.compose import load
from epochwise.config.schema import parameters
from epochwise.data.prepared import PreparedData
from epochwise.pipeline.run import run_configuration
from epochwise.runs.directory import RunDirectory
from epochwise.tracking.download import fetch_run
from epochwise.trajectory import resume
from epochwise.trajectory.identity import fingerprint

NO_SERVER = "http://127.0.0.1:9"  # the port of the discard service, at which nothing listens


def provide_database(project: Project) -> mlflow.MlflowClient:
    """Put a database with MLflow's tables into a project. To make the tables takes seconds, to copy them none."""
    shutil.copy(_database(), project.path / "mlflow.db")
    return client(project.path)


def client(root: Path, database: str = "mlflow.db") -> mlflow.MlflowClient:
    return mlflow.MlflowClient(f"sqlite:///{root / database}")


def all_runs(mlflow_client: mlflow.MlflowClient) -> list[Any]:
    """The runs of all experiments that are not deleted, the latest first."""
    return mlflow_client.search_runs([found.experiment_id for found in mlflow_client.search_experiments()])


def run_directory(project: Project, name: str = "a run") -> RunDirectory:
    return RunDirectory(project.path / "outputs" / "a day" / name)


def train(run: RunDirectory, *overrides: str, replay: bool = True) -> None:
    """Run all stages in the project that is the working directory.

    A training that this process has done before is replayed: the same epochs are reported, and the same network is
    returned. What is tested here is what MLflow gets of them, and to trace a network takes seconds.
    """
    with pytest.MonkeyPatch.context() as patched:
        if replay:
            patched.setattr(resume, "train", _replayed)
        run_configuration(load(overrides), run.path, list(overrides))


def _replayed(
    cfg: DictConfig, data: PreparedData, store: Path | None, report: Callable[[resume.Progress], None], *_: object
) -> SimpleNamespace:
    key = fingerprint(parameters(cfg), data.sha256)
    if key not in _TRAINED:
        steps: list[resume.Progress] = []
        training = _REAL_TRAIN(cfg, data, None, lambda progress: steps.append(copy.deepcopy(progress)))
        _TRAINED[key] = steps, training.scorer
    steps, scorer = _TRAINED[key]
    for progress in steps:
        report(copy.deepcopy(progress))
    return SimpleNamespace(scorer=scorer, model=scorer.model, history=steps[-1].history)


_REAL_TRAIN = resume.train
_TRAINED: dict[str, tuple[list[resume.Progress], Any]] = {}


def untracked_run(project: Project, name: str = "a run") -> RunDirectory:
    """A finished run of two epochs that MLflow does not have, made once and copied into each project."""
    run = run_directory(project, name)
    shutil.copytree(_untracked_run(), run.path)
    return run


def contents(mlflow_client: mlflow.MlflowClient, run: Any) -> dict[str, Any]:
    """All that MLflow holds of a run, except for what two equal runs have otherwise."""
    own_tags = {"run.token", "mlflow.runName", "files", "fingerprint", "overrides", "reproduce", "git.dirty"}
    own_tags.add("mlflow.note.content")  # names the command that makes the run again
    run_id, experiment_id = run.info.run_id, run.info.experiment_id
    points = {
        name: [(point.step, point.value) for point in mlflow_client.get_metric_history(run_id, name)]
        for name in run.data.metrics
        if not name.endswith("_seconds")
    }
    (model,) = mlflow_client.search_logged_models([experiment_id], f"source_run_id = '{run_id}'")
    return {
        "metrics": points,
        "params": run.data.params,
        "tags": {key: value for key, value in run.data.tags.items() if key not in own_tags},
        "data": [(given.dataset.name, given.dataset.digest, given.tags) for given in run.inputs.dataset_inputs],
        "artifacts": artifacts(mlflow_client, run_id),
        "model": str(model.status),
        "status": run.info.status,
    }


def artifacts(mlflow_client: mlflow.MlflowClient, run_id: str) -> set[str]:
    folders = (None, "evaluation")
    return {item.path for folder in folders for item in mlflow_client.list_artifacts(run_id, folder)}


def assert_same_bytes(run_id: str, run: RunDirectory, scratch: Path) -> None:
    """Every file of the run directory is an artifact of the MLflow run. The project is the working directory."""
    fetch_run(Path.cwd(), run_id, scratch)
    for path in run.path.iterdir():
        assert path.read_bytes() == (scratch / path.name).read_bytes(), path.name


def _scratch_folder() -> Path:
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    return Path(folder.name)


@functools.cache
def _database() -> Path:
    folder = _scratch_folder()
    client(folder).search_experiments()
    return folder / "mlflow.db"


@functools.cache
def _untracked_run() -> Path:
    kept = _scratch_folder() / "run"
    train(RunDirectory(kept), "train.epochs=2", "tracking=off")
    return kept
