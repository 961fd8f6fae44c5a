"""Runs and records that only MLflow has are downloaded, whole or not at all."""

import mlflow
import pytest
from mlflow_runs import NO_SERVER, provide_database, run_directory, untracked_run

from epochwise.common.errors import InputError
from epochwise.tracking.download import fetch_finished, fetch_record_of_model, fetch_run
from epochwise.tracking.run_mirror import RunMirror, sync_run
from epochwise.tracking.server import Server

EXPERIMENT = "epochwise"

pytestmark = pytest.mark.usefixtures("plain_pictures")


@pytest.fixture
def server(project) -> Server:
    provide_database(project)
    return Server(project.path)


def test_a_finished_run_is_downloaded_by_its_fingerprint(project, server):
    run = untracked_run(project)
    sync_run(server, run)
    fingerprint = run.read_record().fingerprint
    target = run_directory(project, "fetched")
    wanted = {fingerprint: target.path, "another": run_directory(project, "not there").path}
    assert fetch_finished(server, EXPERIMENT, wanted) == {fingerprint: target.path}
    assert target.read_complete() == run.read_record()
    assert {path.name: path.read_bytes() for path in target.path.iterdir()} == {
        path.name: path.read_bytes() for path in run.path.iterdir()
    }
    assert {path.name for path in target.path.parent.iterdir()} == {"a run", "fetched"}
    assert fetch_finished(server, "no such experiment", wanted) == {}


def test_a_run_whose_artifacts_are_gone_is_not_downloaded(project, server, capsys):
    run = untracked_run(project)
    mirror = sync_run(server, run)
    assert mirror and mirror.run_id
    (project.path / "mlruns" / EXPERIMENT / mirror.run_id / "artifacts" / "results.zip").unlink()
    target = run_directory(project, "fetched")
    assert fetch_finished(server, EXPERIMENT, {run.read_record().fingerprint: target.path}) == {}
    assert not target.path.exists()
    for model in (project.path / "mlruns" / EXPERIMENT / "models").rglob("model.keras"):
        model.unlink()
    assert fetch_finished(server, EXPERIMENT, {run.read_record().fingerprint: target.path}) == {}
    assert capsys.readouterr().err.count("warning: MLflow") == 1


def test_a_fault_while_runs_are_searched_costs_a_warning(project, server, monkeypatch, capsys):
    def lost(*_, **__):
        raise OSError("connection lost")

    RunMirror(server, untracked_run(project)).sync()
    monkeypatch.setattr(mlflow.MlflowClient, "search_runs", lost)
    assert fetch_finished(server, EXPERIMENT, {"f": run_directory(project, "fetched").path}) == {}
    assert "connection lost); finished runs that only MLflow has are run again" in capsys.readouterr().err


def test_without_a_database_there_is_no_run_to_download(project):
    with pytest.raises(InputError, match="^nope: .* which has no database yet"):
        fetch_run(project.path, "nope", project.path / "fetched")
    assert not (project.path / "fetched").exists()
    assert not (project.path / "mlflow.db").exists()


def test_the_record_of_a_models_run_is_downloaded_from_any_experiment(project, server):
    run = untracked_run(project)
    record = run.read_record()
    assert record.model_sha256
    path = project.path / "found" / "run.json"
    server.experiment("another")
    assert not fetch_record_of_model(project.path, record.model_sha256, path)
    sync_run(server, run)
    assert fetch_record_of_model(project.path, record.model_sha256, path)
    assert path.read_bytes() == run.record.read_bytes()
    assert not fetch_record_of_model(project.path, "0" * 64, path.with_name("other.json"))
    assert [found.name for found in path.parent.iterdir()] == ["run.json"]


def test_a_models_run_is_not_taken_from_a_run_that_did_not_finish_or_was_deleted(project, server):
    run = untracked_run(project)
    mirror = sync_run(server, run)
    model_sha256 = run.read_record().model_sha256
    assert mirror and model_sha256
    path = project.path / "found.json"
    server.client.set_terminated(mirror.run_id, "FAILED")
    assert not fetch_record_of_model(project.path, model_sha256, path)
    server.client.set_terminated(mirror.run_id, "FINISHED")
    server.client.delete_run(mirror.run_id)
    assert not fetch_record_of_model(project.path, model_sha256, path)
    assert not path.exists()


def test_a_models_run_is_not_found_without_a_database_or_without_an_answer(project, monkeypatch, capsys):
    path = project.path / "found.json"
    assert not fetch_record_of_model(project.path, "0" * 64, path)
    assert not (project.path / "mlflow.db").exists()
    assert not capsys.readouterr().err
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NO_SERVER)
    assert not fetch_record_of_model(project.path, "0" * 64, path)
    assert capsys.readouterr().err.startswith("warning: MLflow")
    assert not path.exists()
