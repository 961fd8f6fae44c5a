"""The project's own database: made whole, by one process at a time, and found again after the project was moved."""

import shutil
import sqlite3
import subprocess
import sys

import pytest
from conftest import clean_environment
from mlflow.entities import ViewType
from mlflow_runs import all_runs, client, provide_database, run_directory, train

from epochwise.runs.directory import RECORD, RunDirectory
from epochwise.tracking.address import store_exists
from epochwise.tracking.database import make_database
from epochwise.tracking.registry import champion
from epochwise.tracking.result_archive import ARCHIVE, unpack
from epochwise.tracking.server import Server

CONNECT = "from epochwise.tracking.server import Server; from pathlib import Path; server = Server(Path.cwd()); "
# MLflow has made the tables in a temporary file, which is then never renamed.
STOP_HALFWAY = """
import mlflow
real = mlflow.MlflowClient.delete_experiment
def stop(self, *arguments, **keywords):
    real(self, *arguments, **keywords)
    print("made", flush=True)
    input()
mlflow.MlflowClient.delete_experiment = stop
"""

pytestmark = pytest.mark.usefixtures("plain_pictures")


@pytest.mark.slow
def test_a_process_that_is_killed_while_it_makes_the_database_leaves_none(project):
    process = subprocess.Popen(
        [sys.executable, "-c", STOP_HALFWAY + CONNECT],
        env=clean_environment() | {"PYTHONPATH": str(project.path / "src")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"made\n"
    process.kill()
    process.communicate()
    assert list(project.path.glob(".*.mlflow.db*"))
    assert not (project.path / "mlflow.db").exists()
    project.ok(sys.executable, "-c", CONNECT, PYTHONPATH=str(project.path / "src"))
    assert [left.name for left in client(project.path).search_experiments(ViewType.DELETED_ONLY)] == ["Default"]
    assert not list(project.path.glob(".*.mlflow.db*"))


@pytest.mark.slow
def test_processes_that_find_no_database_share_one_experiment(project):
    """Four at once. With MLflow alone they break the database, or log into its experiment Default."""
    code = CONNECT + "print(server.client.create_run(server.experiment('cold')).info.experiment_id)"
    environment = clean_environment() | {"PYTHONPATH": str(project.path / "src")}
    processes = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE) for _ in range(4)
    ]
    experiments = {process.communicate(timeout=300)[0].decode().strip() for process in processes}
    assert [process.returncode for process in processes] == [0] * 4
    with sqlite3.connect(project.path / "mlflow.db") as database:
        (expected,) = database.execute("SELECT experiment_id FROM experiments WHERE name = 'cold'").fetchone()
        assert database.execute("SELECT count(*) FROM runs WHERE experiment_id = ?", (expected,)).fetchone() == (4,)
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert experiments == {str(expected)}


def test_the_address_of_a_database_may_have_a_query(project, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project.path}/other.db?timeout=30")
    assert not store_exists(project.path)
    train(run_directory(project), "train.epochs=1")
    assert store_exists(project.path)
    assert champion(project.path, "it's") is None
    (run,) = all_runs(client(project.path, "other.db"))
    assert run.info.status == "FINISHED"
    assert not list(project.path.glob(".*other.db*"))


@pytest.mark.long
def test_a_moved_project_finds_its_artifacts(project, monkeypatch, tmp_path):
    provide_database(project)
    run = run_directory(project)
    train(run, "train.epochs=1")
    before, project.path = project.path, tmp_path / "moved there"
    before.rename(project.path)
    monkeypatch.chdir(project.path)
    mlflow_client = Server(project.path).client
    (logged,) = all_runs(mlflow_client)
    artifacts = project.path / "mlruns" / "epochwise" / logged.info.run_id / "artifacts"
    (first,) = [model.model_id for model in mlflow_client.search_logged_models([logged.info.experiment_id])]
    assert logged.info.artifact_uri == artifacts.as_uri()
    for emptied in (False, True):
        if emptied:
            shutil.rmtree(project.path / "mlruns" / "epochwise")
        project.ok("epochwise", "publish")  # in another process: MLflow remembers addresses as long as it runs
        unpacked = RunDirectory(tmp_path / f"unpacked {emptied}")
        unpacked.path.mkdir()
        unpack(artifacts / ARCHIVE, unpacked)
        for path in (project.path / run.path.relative_to(before)).iterdir():
            if path.name not in (RECORD, run.model.name):
                (logged_file,) = [*artifacts.rglob(path.name), *unpacked.path.glob(path.name)]
                assert logged_file.read_bytes() == path.read_bytes()
        (model,) = (project.path / "mlruns" / "epochwise" / "models").glob("*/artifacts/data/model.keras")
        # A champion of the registry may point to the model that was logged first, so it is that one.
        assert model.parts[-4] == mlflow_client.search_logged_models([logged.info.experiment_id])[0].model_id == first
        assert (model.parent.parent / "MLmodel").is_file()
    assert not before.exists()


def test_files_of_a_user_beside_the_database_stay(tmp_path):
    """Only what a killed process left of making this very database is removed."""
    kept = (".old.runs.db", ".backup-2026.runs.db.gz", ".1.other.db", "runs.db.bak")
    for name in (*kept, ".17.runs.db", ".17.runs.db-journal"):
        (tmp_path / name).touch()
    make_database(tmp_path / "runs.db")
    assert {path.name for path in tmp_path.iterdir()} - {"runs.db", "runs.db-wal", "runs.db-shm"} == set(kept)
