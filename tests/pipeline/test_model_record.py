"""models/run.json is no output of DVC, yet it is always the record of the model beside it."""

import shutil

import mlflow
import pytest
from conftest import Project, copy_project

from epochwise.common.files import file_digest, read_json


def lock(project) -> bytes:
    return (project.path / "dvc.lock").read_bytes()


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A project whose pipeline has run with 2 epochs (committed) and with 1 (not committed); DVC's cache has both."""
    made = copy_project(tmp_path_factory.mktemp("template") / "a project")
    made.ok("dvc", "repro", "--quiet")
    made.ok("git", "add", "--all")
    made.ok("git", "commit", "--quiet", "--message", "two epochs")
    made.two_epochs = read_json(made.path / "models/run.json")
    made.edit("params.yaml", "epochs: 2", "epochs: 1")
    made.ok("dvc", "repro", "--quiet")
    made.one_epoch = read_json(made.path / "models/run.json")
    return made


@pytest.fixture
def committed(template, tmp_path, monkeypatch):
    """A copy of the template; MLflow's database finds its artifacts in a project that was moved."""
    shutil.copytree(template.path, tmp_path / "a project", symlinks=True)
    made = Project(tmp_path / "a project")
    made.two_epochs, made.one_epoch = template.two_epochs, template.one_epoch
    monkeypatch.chdir(made.path)
    return made


@pytest.mark.long
def test_the_same_results_again_leave_dvc_lock_as_it_is(committed):
    committed.ok("git", "reset", "--quiet", "--hard")
    committed.ok("dvc", "checkout", "--force", "--quiet")
    before = lock(committed)
    assert committed.ok("dvc", "status").strip() == "Data and pipelines are up to date."
    committed.ok("dvc", "repro", "--force", "--quiet")
    assert lock(committed) == before
    assert committed.ok("git", "status", "--porcelain") == ""
    again = read_json(committed.path / "models/run.json")
    assert again["run_id"] != committed.two_epochs["run_id"], "a run of its own in MLflow"
    assert again["weights_sha256"] == committed.two_epochs["weights_sha256"]


@pytest.mark.long
def test_a_checkout_brings_back_the_model_and_its_record(committed):
    """DVC exchanges the model and knows no run.json; the next command that needs the record brings it back."""
    committed.ok("git", "reset", "--quiet", "--hard")
    committed.ok("dvc", "checkout", "--force", "--quiet")
    printed = committed.ok("epochwise", "publish", "models")
    assert f"up to date in MLflow as {committed.two_epochs['run_id']}" in printed
    record = read_json(committed.path / "models/run.json")
    assert record == committed.two_epochs | {"published": record["published"]}, "this project has moved since"
    committed.ok("epochwise", "evaluate")


@pytest.mark.slow
def test_a_stage_that_dvc_restores_from_its_run_cache_has_the_record_of_its_model(committed):
    committed.edit("params.yaml", "epochs: 1", "epochs: 2")
    printed = committed.ok("dvc", "repro")
    assert "is cached - skipping run, checking out outputs" in printed
    assert read_json(committed.path / "models/run.json") == committed.one_epoch, "DVC does not know the record"
    committed.ok("epochwise", "predict", "--random", "1")
    committed.ok("dvc", "repro", "--force", "--single-item", "--quiet", "evaluate")
    record = read_json(committed.path / "models/run.json")
    assert record["run_id"] == committed.two_epochs["run_id"]
    client = mlflow.MlflowClient(f"sqlite:///{committed.path / 'mlflow.db'}")
    assert client.get_run(record["run_id"]).data.tags["model_sha256"] == file_digest(
        committed.path / "models/model.keras"
    )


@pytest.mark.long
def test_a_record_that_is_gone_is_fetched_from_mlflow(committed):
    (committed.path / "models/run.json").unlink()
    shutil.rmtree(committed.path / ".epochwise")
    printed = committed.ok("epochwise", "publish", "models")
    assert f"up to date in MLflow as {committed.one_epoch['run_id']}" in printed
    assert read_json(committed.path / "models/run.json")["token"] == committed.one_epoch["token"]


@pytest.mark.slow
def test_a_clone_that_pulls_has_the_model_and_a_complete_run(committed, tmp_path):
    committed.ok("git", "reset", "--quiet", "--hard")
    committed.ok("dvc", "checkout", "--force", "--quiet")
    committed.ok("dvc", "remote", "add", "--local", "--default", "storage", str(tmp_path / "storage"))
    committed.ok("dvc", "push", "--quiet")
    committed.ok("git", "clone", "--quiet", str(committed.path), str(tmp_path / "clone"))
    committed.path = tmp_path / "clone"
    committed.ok("dvc", "remote", "add", "--local", "--default", "storage", str(tmp_path / "storage"))
    committed.ok("dvc", "pull", "--quiet")
    printed = committed.ok("epochwise", "publish")
    assert "models: restored from DVC: up to date in MLflow as " in printed
    record = read_json(committed.path / "models/run.json")
    assert record["weights_sha256"] == committed.two_epochs["weights_sha256"]
    assert (record["fingerprint"], record["epochs"], record["epochs_trained"]) == ("", 2, 0)
    client = mlflow.MlflowClient(f"sqlite:///{committed.path / 'mlflow.db'}")
    run = client.get_run(record["run_id"])
    assert run.info.status == "FINISHED"
    assert len(client.get_metric_history(run.info.run_id, "val_accuracy")) == 2
    assert run.data.metrics["test_accuracy"] == read_json(committed.path / "reports/metrics.json")["test_accuracy"]
    assert committed.ok("dvc", "status").strip() == "Data and pipelines are up to date."
    assert committed.ok("git", "status", "--porcelain") == ""
    before = {found.info.run_id for found in client.search_runs([run.info.experiment_id])}
    assert "up to date" in committed.ok("epochwise", "publish")
    assert {found.info.run_id for found in client.search_runs([run.info.experiment_id])} == before
