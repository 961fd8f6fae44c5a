"""MLflow brought up to date with run directories: after outages, in clones, on other servers, as often as one likes."""

import hashlib
import json
import shutil
from dataclasses import asdict

import mlflow
import pytest
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from mlflow_runs import (
    NO_SERVER,
    all_runs,
    artifacts,
    assert_same_bytes,
    client,
    contents,
    provide_database,
    run_directory,
    train,
    untracked_run,
)

from epochwise.commands.publish import publish
from epochwise.common.directory_locks import lock_directory
from epochwise.common.errors import InputError, RunError
from epochwise.common.files import read_json, write_json
from epochwise.config.compose import load
from epochwise.pipeline.directories import pipeline_run
from epochwise.pipeline.stages import evaluate_stage, prepare_stage, train_stage
from epochwise.tracking.address import tracking_uri
from epochwise.tracking.run_mirror import FILES_TAG, sync_run
from epochwise.tracking.server import TOKEN_TAG, Server

pytestmark = pytest.mark.usefixtures("plain_pictures")


@pytest.fixture(autouse=True)
def database(project) -> None:
    provide_database(project)


def run_stages(*overrides: str) -> None:
    cfg = load(overrides)
    prepare_stage(cfg)
    train_stage(cfg)
    evaluate_stage(cfg)


@pytest.mark.slow
def test_a_run_of_an_outage_is_logged_later_as_if_it_had_been_logged_live(project, monkeypatch, tmp_path, capsys):
    run = run_directory(project)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NO_SERVER)
    train(run, "train.epochs=3", replay=False)
    record = run.read_record()
    assert (record.status, record.published) == ("FINISHED", False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    publish([])
    train(run_directory(project, "live"), "train.epochs=3", replay=False)
    mlflow_client = client(project.path)
    live, later = all_runs(mlflow_client)
    live_contents, later_contents = contents(mlflow_client, live), contents(mlflow_client, later)
    for key, costs in (("epochs_trained", (0, 3)), ("epochs_reused", (3, 0))):
        both = [found["metrics"].pop(key)[0][1] for found in (live_contents, later_contents)]
        assert tuple(both) == costs
    for found in (live_contents, later_contents):
        found["metrics"].pop("steps_trained")
    assert live_contents == later_contents
    after = run.read_record()
    assert (after.run_id, after.published) == (later.info.run_id, tracking_uri(project.path))
    assert (later.info.start_time, later.info.end_time) == (record.started, record.ended)
    assert_same_bytes(later.info.run_id, run, tmp_path / "fetched")

    publish([])
    again = {found.info.run_id: contents(mlflow_client, found) for found in all_runs(mlflow_client)}
    assert again[later.info.run_id]["metrics"] == contents(mlflow_client, later)["metrics"]
    assert len(again) == 2
    assert capsys.readouterr().err.count("warning: MLflow") == 1


@pytest.mark.parametrize("call", range(1, 14, 2))
def test_a_publish_that_breaks_off_continues_where_it_was(project, monkeypatch, tmp_path, call):
    run = untracked_run(project)
    calls = iter(range(1, 1000))

    def losing_an_answer(method):
        def carried_out(*arguments, **keywords):
            answer = method(*arguments, **keywords)
            if next(calls) == call:
                raise OSError("the answer was lost")
            return answer

        return carried_out

    with monkeypatch.context() as breaking:
        methods = [(mlflow.MlflowClient, name) for name in ("create_run", "log_batch", "log_inputs", "set_terminated")]
        methods += [(mlflow.MlflowClient, "finalize_logged_model"), (LocalArtifactRepository, "log_artifact")]
        for owner, name in methods:
            breaking.setattr(owner, name, losing_an_answer(getattr(owner, name)))
        with pytest.raises(RunError, match="a run: the answer was lost"):
            publish([run.path])
    assert run.read_record().published is False
    publish([run.path])
    mlflow_client = client(project.path)
    (logged,) = all_runs(mlflow_client)
    assert contents(mlflow_client, logged)["metrics"]["val_accuracy"] == [
        (row["epoch"], row["val_accuracy"]) for row in run.read_history()
    ]
    assert (logged.info.status, len(logged.inputs.dataset_inputs)) == ("FINISHED", 1)
    assert_same_bytes(logged.info.run_id, run, tmp_path / "fetched")


@pytest.mark.slow
def test_another_server_gets_all_of_a_run_and_the_first_keeps_it(project, monkeypatch):
    run = run_directory(project)
    train(run, "train.epochs=1")
    before = run.read_record()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project.path}/other.db")
    publish([])
    first, second = client(project.path), client(project.path, "other.db")
    (one,), (other,) = all_runs(first), all_runs(second)
    assert contents(first, one) == contents(second, other)
    after = run.read_record()
    assert (after.run_id, after.published) == (before.run_id, f"sqlite:///{project.path}/other.db")


@pytest.mark.slow
def test_the_pipelines_run_in_a_fresh_clone(project, tmp_path, monkeypatch):
    run_stages("train.epochs=1")
    record = pipeline_run().read_record()
    clone = tmp_path / "a clone"
    shutil.copytree(project.path, clone, ignore=shutil.ignore_patterns("mlflow.db*", "mlruns", "trajectories"))
    monkeypatch.chdir(clone)
    publish([])
    before, after = client(project.path), client(clone)
    (run,), (again,) = all_runs(before), all_runs(after)
    assert contents(before, run) == contents(after, again)
    assert "test_accuracy" in again.data.metrics
    assert pipeline_run().read_record().run_id == record.run_id == run.info.run_id, "the id that MLflow gave it first"
    assert pipeline_run().read_record().published == tracking_uri(clone)
    evaluate_stage(load(["train.epochs=1"]))
    assert len(all_runs(after)) == 1


@pytest.mark.slow
def test_scores_of_another_training_are_never_logged(project):
    run_stages("train.epochs=1")
    train_stage(load(["train.epochs=2"]))
    publish([])
    latest = all_runs(client(project.path))[0]
    assert latest.data.params["train.epochs"] == "2"
    assert "test_accuracy" not in latest.data.metrics


def test_what_was_deleted_in_mlflow_stays_deleted(project, capsys):
    run = untracked_run(project)
    publish([run.path])
    mlflow_client = client(project.path)
    (logged,) = all_runs(mlflow_client)
    mlflow_client.delete_run(logged.info.run_id)
    capsys.readouterr()
    publish([])
    assert not all_runs(mlflow_client)
    assert "was deleted in MLflow, so it stays deleted" in capsys.readouterr().out
    mlflow_client.delete_experiment(logged.info.experiment_id)
    publish([])
    assert mlflow_client.get_experiment(logged.info.experiment_id).lifecycle_stage == "deleted"
    assert "was deleted in MLflow, so it stays deleted" in capsys.readouterr().out


def test_a_run_that_was_created_twice_is_left_once(project):
    """MLflow carries out a request and the answer is lost: then the request is made again."""
    run = untracked_run(project)
    publish([run.path])
    mlflow_client = client(project.path)
    (logged,) = all_runs(mlflow_client)
    mlflow_client.create_run(logged.info.experiment_id, tags={TOKEN_TAG: run.read_record().token})
    assert len(all_runs(mlflow_client)) == 2
    publish([])
    assert [left.info.status for left in all_runs(mlflow_client)] == ["FINISHED"]


def test_a_run_that_is_created_twice_while_it_is_logged_is_left_once(project, monkeypatch):
    """The second one appears after the runs with the token were looked up for the first time."""
    run = untracked_run(project)
    log_inputs = mlflow.MlflowClient.log_inputs

    def create_duplicate_first(self, run_id, **keywords):
        experiment_id = self.get_run(run_id).info.experiment_id
        self.create_run(experiment_id, tags={TOKEN_TAG: run.read_record().token})
        return log_inputs(self, run_id, **keywords)

    monkeypatch.setattr(mlflow.MlflowClient, "log_inputs", create_duplicate_first)
    mirror = sync_run(Server(project.path), run)
    assert mirror
    assert [left.info.run_id for left in all_runs(client(project.path))] == [mirror.run_id]


def test_publish_refuses_what_is_no_run_and_logs_the_others(project):
    run = untracked_run(project)
    with pytest.raises(InputError, match="nowhere: no run of this id or directory"):
        publish(["nowhere"])
    torn = run_directory(project, "another")
    torn.path.mkdir()
    write_json(torn.record, {"run_id": "x"})
    with pytest.raises(RunError, match="another/run.json: not a run's record: experiment is None"):
        publish([])
    assert len(all_runs(client(project.path))) == 1
    assert run.read_record().published


def test_files_are_logged_with_their_sha256(project):
    run = run_directory(project)
    train(run, "train.epochs=1")
    (logged,) = all_runs(client(project.path))
    hashes = json.loads(logged.data.tags[FILES_TAG])
    for path in (run.config, run.model, run.record):
        assert hashes[path.name] == hashlib.sha256(path.read_bytes()).hexdigest()
    picture = run.evaluation / "confusion_matrix.png"
    assert hashes["evaluation/confusion_matrix.png"] == hashlib.sha256(picture.read_bytes()).hexdigest()


def test_a_file_that_was_changed_or_removed_in_mlflow_is_logged_again(project):
    run, server = untracked_run(project), Server(project.path)
    mirror = sync_run(server, run)
    assert mirror and mirror.run_id
    folder = project.path / "mlruns" / "epochwise" / mirror.run_id / "artifacts"
    (folder / "config.yaml").unlink()
    run.diff.write_text("a diff that was not there before")
    sync_run(server, run)
    assert (folder / "config.yaml").read_bytes() == run.config.read_bytes()
    assert (folder / "git.diff").read_bytes() == run.diff.read_bytes()
    assert {"run.json", "results.zip"} <= artifacts(server.client, mirror.run_id)


def test_a_run_that_is_being_worked_on_or_is_another_one_is_left_alone(project):
    run, server = untracked_run(project), Server(project.path)
    before = run.record.read_bytes()
    with lock_directory(project.path, run.path):
        assert sync_run(server, run) is None
    assert sync_run(server, run, token="of another run") is None
    assert not all_runs(server.client)
    assert run.record.read_bytes() == before


def test_a_record_of_an_earlier_version_is_logged_too(project):
    """It has no sha256 of the model."""
    run, server = untracked_run(project), Server(project.path)
    record = asdict(run.read_record())
    del record["model_sha256"]
    write_json(run.record, record)
    mirror = sync_run(server, run)
    assert mirror and mirror.run_id
    logged = server.client.get_run(mirror.run_id)
    assert logged.info.status == "FINISHED"
    assert "model_sha256" not in logged.data.tags
    assert read_json(run.record)["run_id"] == mirror.run_id
