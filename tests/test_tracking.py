"""MLflow as a view: one run a training, honest statuses, and faults that cost no result."""

import os
import signal
import socket
import sqlite3
import subprocess
import time
from pathlib import Path

import mlflow
import pytest

from epochwise.common.errors import InputError, RunError
from epochwise.common.files import read_json
from epochwise.config import compose as config
from epochwise.pipeline.stages import evaluate_stage, prepare_stage, run_all, run_name, train_stage
from epochwise.runs import directory as rundir
from epochwise.tracking import server as tracking
from epochwise.tracking.server import fetch_run, tracking_uri
from epochwise.training import history


@pytest.fixture(scope="module", autouse=True)
def template(tmp_path_factory) -> Path:
    """A database with MLflow's tables: making them takes seconds, copying them none."""
    folder = tmp_path_factory.mktemp("template")
    mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}").search_experiments()
    return folder / "mlflow.db"


@pytest.fixture
def client(project, template):
    (project.path / "mlflow.db").write_bytes(template.read_bytes())
    return mlflow.MlflowClient(tracking_uri(project.path))


def only_run(client):
    experiments = [found.experiment_id for found in client.search_experiments()]
    runs = client.search_runs(experiments)
    assert len(runs) == 1
    return runs[0]


def test_one_run_holds_training_and_evaluation(project, client):
    folder = project.path / "outputs" / "a day" / "a run"
    overrides = ["train.epochs=3", "model.dense_units=64"]
    run_all(config.load(overrides), folder, overrides)
    run, record, metrics = only_run(client), read_json(folder / rundir.RECORD), read_json(folder / rundir.METRICS)
    assert (run.info.run_id, run.info.status, run.info.run_name) == (
        record["run_id"],
        "FINISHED",
        "epochs=3 dense_units=64",
    )
    assert client.get_experiment(run.info.experiment_id).name == "epochwise"
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        points = [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, name)]
        assert points == [(row["epoch"], row[name]) for row in history.read(folder / rundir.HISTORY)]
    for name in ("test_loss", "test_accuracy", "best_epoch", "best_val_accuracy"):
        assert run.data.metrics[name] == metrics[name]
    assert run.data.params["train.epochs"] == "3"
    assert run.data.params["model.dense_dropout"] == "0.5"
    assert run.data.params["model.dense_units"] == "64"
    assert run.data.tags["weights_sha256"] == record["weights_sha256"]
    assert record["status"] == "FINISHED"
    assert record["published"] == tracking_uri(project.path)
    kept = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert kept >= {"config.yaml", "history.csv", "run.json", "evaluation"}
    drawn = {Path(item.path).name for item in client.list_artifacts(run.info.run_id, "evaluation")}
    assert drawn >= {"confusion_matrix.png", "learning_curves.png", "mistakes.png", "random_digit.png"}


def test_evaluate_leaves_status_and_duration_of_the_run_alone(project, client):
    cfg = config.load(["train.epochs=1"])
    prepare_stage(cfg)
    train_stage(cfg)
    before = only_run(client)
    assert (before.info.run_name, before.data.tags["overrides"]) == ("epochs=1", "train.epochs=1")
    time.sleep(0.05)
    evaluate_stage(cfg)
    after = only_run(client)
    assert (after.info.status, after.info.end_time) == (before.info.status, before.info.end_time)
    assert "test_accuracy" not in before.data.metrics
    assert 0.1 < after.data.metrics["test_accuracy"] <= 1


def test_logged_model_predicts_as_the_saved_one(project, client):
    import numpy as np

    from epochwise.training.network import load_model, weights_sha256

    folder = project.path / "outputs" / "a day" / "a run"
    run_all(config.load(["train.epochs=1"]), folder, [])
    run = only_run(client)
    mlflow.set_tracking_uri(tracking_uri(project.path))
    logged = mlflow.keras.load_model(f"runs:/{run.info.run_id}/model")
    assert weights_sha256(logged) == read_json(folder / rundir.RECORD)["weights_sha256"]
    served = mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/model")
    images = np.random.default_rng(0).random((3, 8, 8, 1), np.float32)
    expected = load_model(folder / rundir.MODEL).predict(images, verbose=0)
    np.testing.assert_array_equal(served.predict(images), expected)
    fetch_run(project.path, run.info.run_id, project.path / "fetched")
    assert weights_sha256(load_model(project.path / "fetched/model.keras")) == run.data.tags["weights_sha256"]
    assert (project.path / "fetched/config.yaml").read_bytes() == (folder / rundir.CONFIG).read_bytes()


def test_exception_ends_the_run_failed_with_its_reason(project, client):
    folder = project.path / "outputs" / "a day" / "a run"
    with pytest.raises(Exception, match="diverged"):
        run_all(config.load(["train.learning_rate=1e38"]), folder, [])
    run = only_run(client)
    assert run.info.status == "FAILED"
    assert "diverged" in run.data.tags["failure"]
    assert read_json(folder / rundir.RECORD)["status"] == "FAILED"


def test_a_failed_training_never_gets_the_score_of_an_earlier_model(project, client):
    cfg = config.load(["train.epochs=1"])
    prepare_stage(cfg)
    train_stage(cfg)
    model = (project.path / "models/model.keras").read_bytes()
    with pytest.raises(RunError, match="diverged"):
        train_stage(config.load(["train.learning_rate=1e38"]))
    assert not (project.path / "models/model.keras").exists()
    with pytest.raises(InputError, match="has no|not FINISHED"):
        evaluate_stage(cfg)
    train_stage(config.load(["train.epochs=1", "seed=1"]))
    with pytest.raises(InputError, match="was trained with train.epochs=1, not with what is asked for"):
        evaluate_stage(config.load(["train.epochs=3"]))
    (project.path / "models/model.keras").write_bytes(model)
    with pytest.raises(InputError, match="is not the model of run"):
        evaluate_stage(cfg)


def test_a_disk_that_refuses_the_record_leaves_no_run_running(project, client, monkeypatch):
    def full(path, value):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("epochwise.live.write_json", full)
    with pytest.raises(OSError, match="No space left"):
        run_all(config.load(["train.epochs=1"]), project.path / "outputs" / "a day" / "a run", [])
    assert only_run(client).info.status == "FAILED"


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_end_the_run_killed(project, client, sent, code):
    from conftest import clean_environment

    process = subprocess.Popen(
        ["epochwise", "run", "train.epochs=2000"],
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A shell starts background jobs, and so what runs in them, with Ctrl-C ignored; a user's terminal does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert b"epoch 1/2000" in process.stdout.readline()
    os.kill(process.pid, sent)
    said, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors.decode()
    assert b"Traceback" not in errors
    killed = only_run(client)
    assert killed.info.status == "KILLED"
    (path,) = project.path.glob("outputs/*/*/run.json")
    record = read_json(path)
    assert f"stopped after epoch {record['epochs_trained']} of 2000; the same command goes on" in said.decode()
    assert killed.data.metrics["epochs_trained"] == record["epochs_trained"] >= 1


def test_reused_epochs_are_told_as_if_trained(project, client):
    for number, epochs in enumerate((2, 3)):
        folder = project.path / "outputs" / "a day" / str(number)
        run_all(config.load([f"train.epochs={epochs}"]), folder, [])
    record = read_json(folder / rundir.RECORD)
    assert (record["epochs_trained"], record["epochs_reused"]) == (1, 2)
    run = client.get_run(record["run_id"])
    for name in history.COLUMNS[1:]:
        points = [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, name)]
        assert points == [(row["epoch"], row[name]) for row in history.read(folder / rundir.HISTORY)]
    for name in rundir.COSTS:
        assert run.data.metrics[name] == record[name]
    assert record["train_seconds"] < record["trajectory_seconds"]


def test_a_killed_run_is_marked_by_the_next_one_that_starts(project, client):
    from conftest import clean_environment

    process = subprocess.Popen(
        ["epochwise", "run", "train.epochs=2000"], env=clean_environment(), stdout=subprocess.PIPE
    )
    assert b"epoch 1/2000" in process.stdout.readline()
    live = only_run(client)
    run_all(config.load(["train.epochs=1", "seed=1"]), project.path / "outputs" / "a day" / "other", [])
    assert client.get_run(live.info.run_id).info.status == "RUNNING"
    process.kill()
    process.communicate()
    (left,) = project.path.glob("outputs/2*/*/run.json")
    assert read_json(left)["status"] == "RUNNING"
    last = left.stat().st_mtime
    run_all(config.load(["train.epochs=1"]), project.path / "outputs" / "a day" / "next", [])
    runs = client.search_runs([live.info.experiment_id], order_by=["attributes.start_time"])
    assert [run.info.status for run in runs] == ["KILLED", "FINISHED", "FINISHED"]
    assert runs[0].data.tags["failure"] == "its process was killed"
    assert runs[0].info.end_time == int(last * 1000)
    assert read_json(left)["status"] == "KILLED"
    assert read_json(left)["epochs_trained"] == len(history.read(left.parent / rundir.HISTORY)) >= 1
    assert read_json(project.path / "outputs/a day/next/run.json")["epochs_reused"] == 1


def test_what_others_left_behind_never_fails_a_run(project, client, capsys):
    left = project.path / ".epochwise"
    left.mkdir()
    (left / "a.json").write_text("{")
    (left / "b.json").write_text("{}")
    (left / "c.json").write_text('{"folder": "/nowhere", "server": null}')
    (left / "d.json").write_text('{"folder": "/nowhere", "server": "http://another"}')
    folder = project.path / "outputs" / "a day" / "a run"
    run_all(config.load(["train.epochs=1"]), folder, [])
    assert only_run(client).info.status == "FINISHED"
    assert sorted(path.name for path in left.glob("*.json")) == ["a.json", "d.json"]
    assert "warning" not in capsys.readouterr().err


def test_killed_while_it_makes_the_database_leaves_none(project):
    from conftest import clean_environment

    code = "from epochwise.tracking.server import Server; from pathlib import Path; Server(Path.cwd())"
    process = subprocess.Popen(["python", "-c", code], env=clean_environment())
    while process.poll() is None and not list(project.path.glob(".*.mlflow.db")):
        time.sleep(0.01)
    time.sleep(0.3)
    process.kill()
    process.wait()
    assert not (project.path / "mlflow.db").exists()
    project.ok("python", "-c", code)
    assert mlflow.MlflowClient(tracking_uri(project.path)).search_experiments()
    assert not list(project.path.glob(".*.mlflow.db*"))


def test_a_server_that_is_not_there_costs_a_warning_and_no_result(project, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://somebody:se@cr@127.0.0.1:9")
    folder = project.path / "outputs" / "a day" / "a run"
    run_all(config.load(["train.epochs=1"]), folder, [])
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: MLflow")]
    assert len(warnings) == 1
    assert "cr@" not in warnings[0] and "somebody" not in warnings[0]
    with pytest.raises(InputError, match="^nope: no run with a model here or in MLflow") as refused:
        fetch_run(project.path, "nope", project.path / "fetched")
    assert "cr@" not in str(refused.value) and "somebody" not in str(refused.value)
    record = read_json(folder / rundir.RECORD)
    assert (record["status"], record["published"]) == ("FINISHED", False)
    assert read_json(folder / rundir.METRICS)["test_accuracy"] > 0.1


def test_a_fault_in_mid_training_is_told_once_and_ends_nothing(project, client, monkeypatch, capsys):
    calls = []

    def fails(self, *arguments, **keywords):
        calls.append(arguments)
        raise OSError("no space left on device")

    monkeypatch.setattr(mlflow.MlflowClient, "log_batch", fails)
    folder = project.path / "outputs" / "a day" / "a run"
    run_all(config.load(["train.epochs=2"]), folder, [])
    assert calls
    assert capsys.readouterr().err.count("warning: MLflow") == 1
    assert read_json(folder / rundir.RECORD)["published"] is False
    assert len(history.read(folder / rundir.HISTORY)) == 2
    assert only_run(client).info.status == "FINISHED"


def test_tracking_off_makes_no_database(project):
    folder = project.path / "outputs" / "a day" / "a run"
    run_all(config.load(["tracking=off", "train.epochs=1"]), folder, [])
    assert not (project.path / "mlflow.db").exists()
    assert read_json(folder / rundir.RECORD)["published"] is False


def test_processes_on_a_cold_start_share_one_experiment(project):
    """Four processes that find no database: MLflow alone breaks it, or logs into its Default experiment."""
    code = "from epochwise.tracking.server import Server; from pathlib import Path; server = Server(Path.cwd()); "
    code += "print(server.client.create_run(server.experiment('cold')).info.experiment_id)"
    from conftest import clean_environment

    processes = [
        subprocess.Popen(["python", "-c", code], env=clean_environment(), stdout=subprocess.PIPE) for _ in range(4)
    ]
    experiments = {process.communicate(timeout=120)[0].decode().strip() for process in processes}
    assert [process.returncode for process in processes] == [0] * 4
    with sqlite3.connect(project.path / "mlflow.db") as database:
        (expected,) = database.execute("SELECT experiment_id FROM experiments WHERE name = 'cold'").fetchone()
        assert database.execute("SELECT count(*) FROM runs WHERE experiment_id = ?", (expected,)).fetchone() == (4,)
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert experiments == {str(expected)}


def test_runs_are_named_by_what_varies(project):
    overrides = ["experiment=seed", "train.epochs=10", "model.dense_dropout=0.25", "hydra.verbose=true"]
    assert run_name(overrides) == "epochs=10 dense_dropout=0.25"


def test_a_request_that_failed_is_told_by_its_server_and_the_innermost_cause():
    import requests

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(RuntimeError) as raised:
        try:
            requests.get(f"http://somebody:secret@127.0.0.1:{port}/api/2.0/mlflow/runs/get", timeout=5)
        except requests.ConnectionError as error:
            raise RuntimeError("half a page") from error
    assert tracking.reason(raised.value) == f"http://127.0.0.1:{port}: [Errno 111] Connection refused"
    assert tracking.reason(RuntimeError("two\nlines")) == "two lines"
    first, second = RuntimeError("first"), RuntimeError("second")
    first.__cause__, second.__cause__ = second, first
    assert tracking.reason(first) == "first"
    assert tracking.reason(RuntimeError()) == "RuntimeError"
