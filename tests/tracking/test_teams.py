"""Several people or projects with one store: permissions, and what two of them create at once."""

import os
import stat
import subprocess
import sys

import mlflow
import pytest
from conftest import clean_environment, copy_project
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS
from mlflow_runs import client, provide_database, run_directory, train

from epochwise.tracking.server import Server

CREATE = """
from pathlib import Path
from epochwise.tracking.server import Server
server = Server(Path.cwd())
print(server.client.create_run(server.experiment("shared")).info.experiment_id)
"""


@pytest.fixture
def team():
    """The umask of people who share a group."""
    before = os.umask(0o002)
    yield
    os.umask(before)


@pytest.mark.slow
def test_all_that_a_run_writes_may_be_changed_by_the_group(project, team, monkeypatch):
    old = set(project.path.rglob("*"))
    project.ok("epochwise", "run", "train.epochs=1")
    project.ok("epochwise", "run", "-m", "train.epochs=1", "seed=1,2")
    new = [path for path in project.path.rglob("*") if path not in old]
    assert {"mlflow.db", "model.keras", "sweep.json", "report.html", "MLmodel"} <= {path.name for path in new}
    private = [str(path) for path in new if not path.stat().st_mode & stat.S_IWGRP]
    assert private == []


def test_a_database_has_the_permissions_that_the_umask_leaves(project, team):
    Server(project.path).ping()
    assert stat.S_IMODE((project.path / "mlflow.db").stat().st_mode) == 0o664


@pytest.mark.slow
def test_projects_that_share_a_new_database_do_not_replace_it(project, tmp_path):
    """The lock lies beside the database. With one in each project, each would put a database of its own there."""
    projects = [project, *(copy_project(tmp_path / f"project {number}") for number in range(3))]
    (tmp_path / "store").mkdir()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CREATE],
            cwd=one.path,
            stdout=subprocess.PIPE,
            env=clean_environment()
            | {"PYTHONPATH": str(one.path / "src"), "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/store/team.db"},
        )
        for one in projects
    ]
    ids = {process.communicate(timeout=300)[0].decode().strip() for process in processes}
    assert [process.returncode for process in processes] == [0] * len(projects) and len(ids) == 1
    store = client(tmp_path / "store", "team.db")
    assert len(store.search_runs(list(ids))) == len(projects)
    assert store.get_experiment(ids.pop()).artifact_location == f"file://{tmp_path}/store/mlruns/shared"


def test_a_user_without_a_name_and_a_home_logs_all_the_same(project, monkeypatch):
    """As in a container that runs under a number: MLflow asks for a home folder."""

    def unknown(number):
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.setenv("HOME", "")
    monkeypatch.delenv("HOME")
    provide_database(project)
    Server(project.path).ping()


class Rival(mlflow.MlflowClient):
    """A client before which another one creates, or restores, what this one wants to."""

    def create_experiment(self, name, *arguments, **keywords):
        super().create_experiment(name, *arguments, **keywords)
        raise MlflowException(f"Experiment '{name}' already exists.", RESOURCE_ALREADY_EXISTS)

    def restore_experiment(self, experiment_id):
        super().restore_experiment(experiment_id)
        raise MlflowException("Cannot restore an active experiment.", RESOURCE_ALREADY_EXISTS)


@pytest.fixture
def server(project) -> Server:
    provide_database(project)
    made = Server(project.path)
    made.client = Rival(made.uri)
    return made


def test_an_experiment_that_another_project_creates_at_once_is_used(server):
    created = server.experiment("fresh")
    assert created == server.experiment("fresh") == server.client.get_experiment_by_name("fresh").experiment_id


def test_an_experiment_that_another_project_restores_at_once_is_used(server):
    created = server.experiment("fresh")
    server.client.delete_experiment(created)
    assert server.experiment("fresh") == created
    assert not server.is_deleted("fresh")


def test_an_experiment_that_cannot_be_created_is_an_error(server, monkeypatch):
    def refuse(*_, **__):
        raise MlflowException("no")

    monkeypatch.setattr(Rival, "create_experiment", refuse)
    with pytest.raises(MlflowException, match="no"):
        server.experiment("fresh")


@pytest.mark.usefixtures("plain_pictures")
def test_artifacts_lie_beside_the_database_that_they_belong_to(project, tmp_path, monkeypatch):
    provide_database(project)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/store/other.db")
    train(run_directory(project), "train.epochs=1")
    assert list((tmp_path / "store/mlruns/epochwise").rglob("config.yaml"))
    assert not (project.path / "mlruns").exists()
    assert not client(project.path).get_experiment_by_name("epochwise")
