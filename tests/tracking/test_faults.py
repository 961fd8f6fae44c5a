"""Faults of MLflow: each costs one warning, never a result, and no epoch waits for it."""

import http.server
import os
import socket
import sqlite3
import threading

import mlflow
import pytest
from conftest import wait_for
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from mlflow_runs import NO_SERVER, all_runs, client, provide_database, run_directory, train

from epochwise.commands.publish import publish
from epochwise.common.errors import InputError, RunError
from epochwise.runs.directory import RunDirectory
from epochwise.tracking.address import tracking_uri
from epochwise.tracking.download import fetch_run
from epochwise.tracking.server import preload

ADDRESS_WITH_PASSWORD = "http://somebody:se@cr@127.0.0.1:9"

pytestmark = pytest.mark.usefixtures("plain_pictures")


@pytest.fixture(autouse=True)
def database(project) -> None:
    provide_database(project)


@pytest.fixture
def run(project) -> RunDirectory:
    return run_directory(project)


def warnings(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: MLflow")]


def assert_results_are_on_disk(run: RunDirectory) -> None:
    record = run.read_complete()
    assert record and record.published is False
    assert run.read_metrics()["test_accuracy"] > 0.1


def no_space(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_server_that_does_not_exist(project, run, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", ADDRESS_WITH_PASSWORD)
    train(run, "train.epochs=1")
    (warning,) = warnings(capsys)
    assert "cr@" not in warning and "somebody" not in warning
    with pytest.raises(RunError, match="^nope: no run with a model here or in MLflow") as refused:
        fetch_run(project.path, "nope", project.path / "fetched")
    assert "cr@" not in str(refused.value) and "somebody" not in str(refused.value)
    assert_results_are_on_disk(run)


def test_an_address_that_is_none(run, monkeypatch, capsys):
    """A run is refused; one that has begun goes on."""
    train(run, "tracking=off")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://somebody:sec[ret@127.0.0.1:9")
    for attempt in (lambda: train(run, "train.epochs=1"), lambda: publish([])):
        with pytest.raises(InputError, match="^MLFLOW_TRACKING_URI=http://127.0.0.1:9: is no address"):
            attempt()
    assert_results_are_on_disk(run)
    printed = capsys.readouterr()
    assert "ret@" not in printed.err + printed.out


def test_a_fault_in_the_middle_of_a_training(project, run, monkeypatch, capsys):
    calls = []

    def fails(self, *arguments, **keywords):
        calls.append(arguments)
        no_space()

    monkeypatch.setattr(mlflow.MlflowClient, "log_batch", fails)
    train(run, "train.epochs=2")
    assert calls
    (warning,) = warnings(capsys)
    assert "`epochwise publish` logs them later" in warning
    assert_results_are_on_disk(run)
    assert len(run.read_history()) == 2
    (logged,) = all_runs(client(project.path))
    assert logged.info.status == "FINISHED"


def test_an_mlflow_that_cannot_be_imported(run, monkeypatch, capsys):
    def broken() -> None:
        raise ImportError("no module named alembic")

    monkeypatch.setattr("epochwise.tracking.recorder_thread.preload", broken)
    train(run, "train.epochs=1")
    (warning,) = warnings(capsys)
    assert "no module named alembic" in warning
    assert_results_are_on_disk(run)


def test_a_failed_run_for_whose_files_mlflow_has_no_room_keeps_its_reason(project, run, monkeypatch):
    monkeypatch.setattr(LocalArtifactRepository, "log_artifact", no_space)
    with pytest.raises(RunError, match="diverged"):
        train(run, "train.learning_rate=1e38")
    (logged,) = all_runs(client(project.path))
    assert logged.info.status == "FAILED" and "training diverged" in logged.data.tags["failure"]


def test_data_that_another_process_logs_in_the_same_moment(project, run, monkeypatch, capsys):
    log_inputs = mlflow.MlflowClient.log_inputs
    losing = iter([mlflow.MlflowException("UNIQUE constraint failed: datasets.experiment_id")])

    def lose_once(*arguments, **keywords):
        for error in losing:
            raise error
        return log_inputs(*arguments, **keywords)

    monkeypatch.setattr(mlflow.MlflowClient, "log_inputs", lose_once)
    train(run, "train.epochs=1")
    (logged,) = all_runs(client(project.path))
    assert logged.info.status == "FINISHED" and len(logged.inputs.dataset_inputs) == 1
    assert "warning" not in capsys.readouterr().err


class Failing(http.server.BaseHTTPRequestHandler):
    def _fail(self) -> None:
        self.send_error(500)

    do_GET = do_POST = _fail

    def log_message(self, *_: object) -> None:
        pass


def test_a_server_that_answers_500(run, monkeypatch, capsys):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Failing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
        train(run, "train.epochs=2")
        server.shutdown()
    assert len(warnings(capsys)) == 1
    assert_results_are_on_disk(run)


def test_a_server_that_never_answers_holds_up_no_epoch(run, monkeypatch):
    """MLflow would wait for ten minutes here, so what is trained until it is given up has not waited for it."""
    epochs = []
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "600")
    monkeypatch.setattr("epochwise.tracking.recorder_thread.FINISH_TIMEOUT", 0.5)
    monkeypatch.setattr("epochwise.tracking.recorder_thread.warn", lambda *_: epochs.append(len(run.read_history())))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        train(run, "train.epochs=2")
        assert epochs == [2], "it was given up once, when all epochs were trained"
    assert_results_are_on_disk(run)


def test_a_call_without_an_answer_ends_after_seconds_unless_the_user_wants_otherwise(monkeypatch):
    for name in ("MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_DISABLE_TELEMETRY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    preload()
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "5"
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "3"


def test_no_training_waits_for_a_locked_database_which_has_all_once_it_is_free(project, run, monkeypatch):
    monkeypatch.setattr("epochwise.tracking.recorder_thread.RETRY_PAUSE", 0.5)
    evaluated = threading.Event()
    with sqlite3.connect(project.path / "mlflow.db", isolation_level=None, check_same_thread=False) as holder:
        holder.execute("BEGIN EXCLUSIVE")

        def free() -> None:
            wait_for(run.metrics.is_file)
            evaluated.set()
            holder.execute("ROLLBACK")

        freeing = threading.Thread(target=free, daemon=True)
        freeing.start()
        train(run, "train.epochs=2")
        freeing.join()
    assert evaluated.is_set(), "all results were on disk while the database was locked"
    (logged,) = all_runs(client(project.path))
    assert logged.info.status == "FINISHED"
    assert run.read_record().published == tracking_uri(project.path)


@pytest.mark.slow
def test_required_tracking_that_fails_fails_the_command_and_not_the_run(project):
    done = project.run("epochwise", "run", "train.epochs=1", "tracking.required=true", MLFLOW_TRACKING_URI=NO_SERVER)
    assert done.returncode == 1
    warning, error = done.stderr.splitlines()[-2:]
    assert warning.startswith("warning: MLflow") and "`epochwise publish` logs them later" in warning
    assert "which tracking.required asks for" in error
    (path,) = project.path.glob("outputs/*/*")
    assert_results_are_on_disk(RunDirectory(path))
