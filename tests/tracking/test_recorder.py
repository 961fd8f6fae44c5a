"""The recorder: one MLflow run for each run, with all results and with the status with which the run ended."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from conftest import clean_environment
from mlflow_runs import NO_SERVER, all_runs, provide_database, run_directory, train, untracked_run

from epochwise.config.compose import load
from epochwise.pipeline.stages import evaluate_stage, prepare_stage, train_stage
from epochwise.runs.directory import RunDirectory
from epochwise.tracking.address import tracking_uri
from epochwise.tracking.recorder_thread import NullRecorder, create_recorder
from epochwise.tracking.run_mirror import COSTS
from epochwise.training.history import METRICS

pytestmark = pytest.mark.usefixtures("plain_pictures")


@pytest.fixture
def client(project):
    return provide_database(project)


@pytest.fixture
def run(project) -> RunDirectory:
    return run_directory(project)


def only_run(client):
    (found,) = all_runs(client)
    return found


def points(client, run_id: str, name: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in client.get_metric_history(run_id, name)]


def test_one_mlflow_run_holds_training_and_evaluation(project, client, run):
    train(run, "train.epochs=3", "model.dense_units=64")
    logged, record, metrics, history = only_run(client), run.read_record(), run.read_metrics(), run.read_history()
    assert (logged.info.run_id, logged.info.status) == (record.run_id, "FINISHED")
    assert logged.info.run_name == "epochs=3 dense_units=64"
    assert client.get_experiment(logged.info.experiment_id).name == "epochwise"
    for name in METRICS:
        assert points(client, logged.info.run_id, name) == [(row["epoch"], row[name]) for row in history]
    for name in ("test_loss", "test_accuracy", "best_epoch", "best_val_accuracy"):
        assert logged.data.metrics[name] == metrics[name]
    assert logged.data.params["train.epochs"] == "3"
    assert logged.data.params["model.dense_dropout"] == "0.5"
    assert logged.data.params["model.dense_units"] == "64"
    assert logged.data.tags["weights_sha256"] == record.weights_sha256
    assert logged.data.tags["model_sha256"] == record.model_sha256
    assert record.status == "FINISHED"
    assert record.published == tracking_uri(project.path)
    kept = {item.path for item in client.list_artifacts(logged.info.run_id)}
    assert kept >= {"config.yaml", "results.zip", "run.json", "evaluation"}
    evaluation = {Path(item.path).name for item in client.list_artifacts(logged.info.run_id, "evaluation")}
    assert evaluation >= {"confusion_matrix.png", "learning_curves.png", "mistakes.png", "random_digit.png"}


def test_evaluate_leaves_status_and_duration_of_the_run_alone(client):
    cfg = load(["train.epochs=1"])
    prepare_stage(cfg)
    train_stage(cfg)
    before = only_run(client)
    assert (before.info.run_name, before.data.tags["overrides"]) == ("epochs=1", "train.epochs=1")
    evaluate_stage(cfg)
    after = only_run(client)
    assert (after.info.status, after.info.end_time) == (before.info.status, before.info.end_time)
    assert "test_accuracy" not in before.data.metrics
    assert 0.1 < after.data.metrics["test_accuracy"] <= 1


@pytest.mark.slow
def test_evaluate_logs_a_training_that_mlflow_does_not_have(client, monkeypatch):
    cfg = load(["train.epochs=1"])
    prepare_stage(cfg)
    with monkeypatch.context() as outage:
        outage.setenv("MLFLOW_TRACKING_URI", NO_SERVER)
        train_stage(cfg)
    evaluate_stage(cfg)
    logged = only_run(client)
    assert logged.info.status == "FINISHED"
    assert {"val_accuracy", "test_accuracy", "best_epoch"} <= logged.data.metrics.keys()


@pytest.mark.slow
def test_reused_epochs_are_logged_as_if_they_were_trained(project, client):
    for epochs in (2, 3):
        run = run_directory(project, f"{epochs} epochs")
        train(run, f"train.epochs={epochs}", replay=False)
    record, history = run.read_record(), run.read_history()
    assert (record.epochs_trained, record.epochs_reused) == (1, 2)
    logged = client.get_run(record.run_id)
    for name in METRICS:
        assert points(client, record.run_id, name) == [(row["epoch"], row[name]) for row in history]
    for name in COSTS:
        assert logged.data.metrics[name] == getattr(record, name)
    assert record.train_seconds < record.trajectory_seconds


def test_an_exception_ends_the_run_failed_with_its_reason(client, run):
    with pytest.raises(Exception, match="diverged"):
        train(run, "train.learning_rate=1e38")
    logged = only_run(client)
    assert logged.info.status == "FAILED"
    assert "diverged" in logged.data.tags["failure"]
    assert run.read_record().status == "FAILED"


def test_a_disk_that_refuses_the_record_leaves_no_run_running(client, run, monkeypatch):
    write_record = RunDirectory.write_record

    def full(self, record):
        if record.epochs_trained:  # the first record is written, or the run would not start
            raise OSError(28, "No space left on device")
        write_record(self, record)

    monkeypatch.setattr(RunDirectory, "write_record", full)
    with pytest.raises(OSError, match="No space left"):
        train(run, "train.epochs=1")
    assert only_run(client).info.status == "FAILED"


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_end_the_run_killed(project, client, sent, code):
    process = subprocess.Popen(
        ["epochwise", "run", "train.epochs=2000"],
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A shell starts background jobs, and so what runs in them, with Ctrl-C ignored; a user's terminal does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert any(line.startswith(b"epoch 1/2000") for line in process.stdout)
    os.kill(process.pid, sent)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors.decode()
    assert b"Traceback" not in errors
    killed = only_run(client)
    assert killed.info.status == "KILLED"
    (path,) = project.path.glob("outputs/*/*/run.json")
    record = RunDirectory(path.parent).read_record()
    assert f"stopped after epoch {record.epochs_trained} of 2000; the same command goes on" in output.decode()
    assert killed.data.metrics["epochs_trained"] == record.epochs_trained >= 1


def test_without_tracking_there_is_no_database(project, run):
    train(run, "tracking=off", "train.epochs=1")
    assert not (project.path / "mlflow.db").exists()
    assert run.read_record().published is False
    recorder = create_recorder(project.path, load(["tracking=off"]), run)
    assert isinstance(recorder, NullRecorder)
    assert (recorder.published, recorder.run_id, recorder.link) == (False, None, "")


def test_a_recorder_returns_the_record_with_mlflows_id_and_writes_no_file(project, client):
    run = untracked_run(project)
    record = run.read_record()
    recorder = create_recorder(project.path, load([]), run)
    assert (recorder.published, recorder.run_id, recorder.link) == (False, None, "")
    recorder.start()
    finished = recorder.finish(record)
    assert recorder.published
    assert finished.run_id == recorder.run_id == only_run(client).info.run_id
    assert finished.published == tracking_uri(project.path)
    assert recorder.link.endswith(f"/runs/{recorder.run_id}?workflowType=machine_learning")
    assert run.read_record() == record
