"""MLflow brought level with run directories: after outages, in clones, in moved projects, on other servers."""

import hashlib
import http.server
import json
import shutil
import socket
import sqlite3
import threading
import time
from pathlib import Path

import mlflow
import pytest

from epochwise.commands.publish import publish
from epochwise.common.errors import InputError, RunError
from epochwise.common.files import read_json, write_json
from epochwise.config import compose as config
from epochwise.pipeline.stages import evaluate_stage, prepare_stage, run_all, train_stage
from epochwise.runs import directory as rundir
from epochwise.tracking import run_mirror as view
from epochwise.tracking import server as tracking
from epochwise.training import history

DEAD = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def template(tmp_path_factory, request, project) -> None:
    """A database with MLflow's tables, made once: that takes seconds, a copy of it none."""
    made = getattr(request.module, "_template", None)
    if made is None:
        made = request.module._template = tmp_path_factory.mktemp("template") / "mlflow.db"
        mlflow.MlflowClient(f"sqlite:///{made}").search_experiments()
    shutil.copy(made, project.path / "mlflow.db")


@pytest.fixture
def folder(project) -> Path:
    return project.path / "outputs" / "a day" / "a run"


def client(root: Path, database: str = "mlflow.db") -> mlflow.MlflowClient:
    return mlflow.MlflowClient(f"sqlite:///{root / database}")


def all_runs(known: mlflow.MlflowClient) -> list:
    return known.search_runs([found.experiment_id for found in known.search_experiments()])


def shown(known: mlflow.MlflowClient, run) -> dict:
    """All that MLflow says of a run, but for what no two runs have in common."""
    own = {"run.token", "mlflow.runName", "files", "fingerprint", "overrides", "reproduce", "git.dirty"}
    points = {
        key: [(point.step, point.value) for point in known.get_metric_history(run.info.run_id, key)]
        for key in run.data.metrics
        if not key.endswith("_seconds")
    }
    artifacts = {item.path for folder in (None, "evaluation") for item in known.list_artifacts(run.info.run_id, folder)}
    (model,) = known.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'")
    return {
        "metrics": points,
        "params": run.data.params,
        "tags": {key: value for key, value in run.data.tags.items() if key not in own},
        "data": [(given.dataset.name, given.dataset.digest, given.tags) for given in run.inputs.dataset_inputs],
        "artifacts": artifacts,
        "model": str(model.status),
        "status": run.info.status,
    }


def same_bytes(known: mlflow.MlflowClient, run_id: str, folder: Path, scratch: Path) -> None:
    """Every artifact is the run directory's file."""
    scratch.mkdir()
    tracking.fetch_run(Path.cwd(), run_id, scratch)
    for path in folder.iterdir():
        assert path.read_bytes() == (scratch / path.name).read_bytes(), path.name


def test_a_run_of_an_outage_is_told_later_as_if_it_had_been_told_live(project, folder, monkeypatch, tmp_path, capsys):
    cfg = config.load(["train.epochs=3"])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", DEAD)
    run_all(cfg, folder, ["train.epochs=3"])
    record = read_json(folder / rundir.RECORD)
    assert (record["status"], record["published"]) == ("FINISHED", False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    publish([])
    run_all(cfg, folder.with_name("live"), ["train.epochs=3"])
    known = client(project.path)
    live, later = all_runs(known)
    told, retold = shown(known, live), shown(known, later)
    for key, costs in (("epochs_trained", (0, 3)), ("epochs_reused", (3, 0))):
        assert (told["metrics"].pop(key)[0][1], retold["metrics"].pop(key)[0][1]) == costs
    for about in (told, retold):
        about["metrics"].pop("steps_trained")
    assert told == retold
    after = read_json(folder / rundir.RECORD)
    assert (after["run_id"], after["published"]) == (later.info.run_id, tracking.tracking_uri(project.path))
    assert (later.info.start_time, later.info.end_time) == (record["started"], record["ended"])
    same_bytes(known, later.info.run_id, folder, tmp_path / "fetched")

    publish([])
    again = {run.info.run_id: shown(known, run) for run in all_runs(known)}
    assert again[later.info.run_id]["metrics"] == shown(known, later)["metrics"]
    assert len(again) == 2
    assert capsys.readouterr().err.count("warning: MLflow") == 1


@pytest.mark.parametrize("call", range(1, 14, 2))
def test_a_publish_that_breaks_off_goes_on_where_it_was(project, folder, monkeypatch, tmp_path, call):
    run_all(config.load(["train.epochs=2", "tracking=off"]), folder, [])
    calls = iter(range(1, 1000))

    def losing(real):
        def heard(*arguments, **keywords):
            answer = real(*arguments, **keywords)
            if next(calls) == call:
                raise OSError("the answer was lost")
            return answer

        return heard

    with monkeypatch.context() as breaking:
        for name in ("create_run", "log_batch", "log_inputs", "log_artifact", "set_terminated"):
            breaking.setattr(mlflow.MlflowClient, name, losing(getattr(mlflow.MlflowClient, name)))
        with pytest.raises(RunError, match="a run: the answer was lost"):
            publish([folder])
    assert read_json(folder / rundir.RECORD)["published"] is False
    publish([folder])
    known = client(project.path)
    (run,) = all_runs(known)
    assert shown(known, run)["metrics"]["val_accuracy"] == [
        (row["epoch"], row["val_accuracy"]) for row in history.read(folder / rundir.HISTORY)
    ]
    assert (run.info.status, len(run.inputs.dataset_inputs)) == ("FINISHED", 1)
    same_bytes(known, run.info.run_id, folder, tmp_path / "fetched")


def test_another_server_gets_all_of_it_and_the_first_keeps_it(project, folder, monkeypatch):
    run_all(config.load(["train.epochs=1"]), folder, [])
    before = read_json(folder / rundir.RECORD)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project.path}/other.db")
    publish([])
    first, second = client(project.path), client(project.path, "other.db")
    (one,), (other,) = all_runs(first), all_runs(second)
    about = [shown(known, run) for known, run in ((first, one), (second, other))]
    assert about[0] == about[1]
    after = read_json(folder / rundir.RECORD)
    assert (after["run_id"], after["published"]) == (before["run_id"], f"sqlite:///{project.path}/other.db")


def test_the_pipelines_run_in_a_fresh_clone(project, tmp_path, monkeypatch):
    cfg = config.load(["train.epochs=1"])
    prepare_stage(cfg)
    train_stage(cfg)
    evaluate_stage(cfg)
    record = (project.path / "models/run.json").read_bytes()
    clone = tmp_path / "a clone"
    shutil.copytree(project.path, clone, ignore=shutil.ignore_patterns("mlflow.db*", "mlruns", "trajectories"))
    monkeypatch.chdir(clone)
    publish([])
    before, after = client(project.path), client(clone)
    (run,), (again,) = all_runs(before), all_runs(after)
    assert shown(before, run) == shown(after, again)
    assert "test_accuracy" in again.data.metrics
    assert (clone / "models/run.json").read_bytes() == record, "it is DVC's"
    evaluate_stage(cfg)
    assert len(all_runs(after)) == 1


def test_evaluate_tells_of_a_training_that_mlflow_does_not_have(project, monkeypatch):
    cfg = config.load(["train.epochs=1"])
    prepare_stage(cfg)
    with monkeypatch.context() as outage:
        outage.setenv("MLFLOW_TRACKING_URI", DEAD)
        train_stage(cfg)
    evaluate_stage(cfg)
    (run,) = all_runs(client(project.path))
    assert run.info.status == "FINISHED"
    assert {"val_accuracy", "test_accuracy", "best_epoch"} <= run.data.metrics.keys()


def test_scores_of_another_training_are_never_told(project):
    cfg = config.load(["train.epochs=1"])
    prepare_stage(cfg)
    train_stage(cfg)
    evaluate_stage(cfg)
    train_stage(config.load(["train.epochs=2"]))
    publish([])
    newest = all_runs(client(project.path))[0]
    assert newest.data.params["train.epochs"] == "2"
    assert "test_accuracy" not in newest.data.metrics


@pytest.mark.slow
def test_a_moved_project_finds_its_artifacts(project, folder, monkeypatch, tmp_path):
    run_all(config.load(["train.epochs=1"]), folder, [])
    before, project.path = project.path, tmp_path / "moved there"
    before.rename(project.path)
    monkeypatch.chdir(project.path)
    known = tracking.Server(project.path).client
    (run,) = all_runs(known)
    artifacts = project.path / "mlruns" / "epochwise" / run.info.run_id / "artifacts"
    (first,) = [model.model_id for model in known.search_logged_models([run.info.experiment_id])]
    assert run.info.artifact_uri == artifacts.as_uri()
    for emptied in (False, True):
        if emptied:
            shutil.rmtree(project.path / "mlruns" / "epochwise")
        project.ok("epochwise", "publish")  # another process: MLflow remembers addresses for the life of one
        for path in (project.path / folder.relative_to(before)).iterdir():
            if path.name not in (rundir.RECORD, rundir.MODEL):
                (there,) = artifacts.rglob(path.name)
                assert there.read_bytes() == path.read_bytes()
        (model,) = (project.path / "mlruns" / "epochwise" / "models").glob("*/artifacts/data/model.keras")
        # To the very model that was there before a champion of the registry may point.
        assert model.parts[-4] == known.search_logged_models([run.info.experiment_id])[0].model_id == first
        assert (model.parent.parent / "MLmodel").is_file()
    assert not before.exists()


def test_what_was_deleted_in_mlflow_stays_deleted(project, folder, capsys):
    run_all(config.load(["train.epochs=1"]), folder, [])
    known = client(project.path)
    (run,) = all_runs(known)
    known.delete_run(run.info.run_id)
    publish([])
    assert not all_runs(known)
    assert "was deleted in MLflow, so it stays so" in capsys.readouterr().out
    known.delete_experiment(run.info.experiment_id)
    publish([])
    assert known.get_experiment(run.info.experiment_id).lifecycle_stage == "deleted"
    assert "was deleted in MLflow, so it stays so" in capsys.readouterr().out


def test_a_failure_that_mlflow_has_no_room_for_keeps_its_reason(project, folder, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mlflow.MlflowClient, "log_artifact", full)
    with pytest.raises(RunError, match="diverged"):
        run_all(config.load(["train.learning_rate=1e38"]), folder, [])
    (run,) = all_runs(client(project.path))
    assert run.info.status == "FAILED" and "training diverged" in run.data.tags["failure"]


def test_an_address_that_is_none_costs_no_result_and_is_told_in_one_line(project, folder, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://somebody:sec[ret@127.0.0.1:9")
    run_all(config.load(["train.epochs=1"]), folder, [])
    assert read_json(folder / rundir.RECORD)["status"] == "FINISHED"
    with pytest.raises(RunError, match="start it again later"):
        publish([])
    said = capsys.readouterr()
    assert said.err.count("warning: MLflow") == 1 and "ret@" not in said.err + said.out


def test_data_that_another_process_tells_of_in_the_same_moment(project, folder, monkeypatch, capsys):
    told = mlflow.MlflowClient.log_inputs
    losing = iter([mlflow.MlflowException("UNIQUE constraint failed: datasets.experiment_id")])

    def log_inputs(*arguments, **keywords):
        for lost in losing:
            raise lost
        return told(*arguments, **keywords)

    monkeypatch.setattr(mlflow.MlflowClient, "log_inputs", log_inputs)
    run_all(config.load(["train.epochs=1"]), folder, [])
    (run,) = all_runs(client(project.path))
    assert run.info.status == "FINISHED" and len(run.inputs.dataset_inputs) == 1
    assert "warning" not in capsys.readouterr().err


def test_a_database_whose_address_has_a_query(project, folder, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project.path}/other.db?timeout=30")
    run_all(config.load(["train.epochs=1"]), folder, [])
    assert tracking.exists(project.path)
    assert tracking.champion(project.path, "it's") is None
    (run,) = all_runs(client(project.path, "other.db"))
    assert run.info.status == "FINISHED"
    assert not list(project.path.glob(".*other.db*"))


def test_a_request_that_was_heard_twice_leaves_one_run(project, folder):
    run_all(config.load(["train.epochs=1"]), folder, [])
    known = client(project.path)
    (run,) = all_runs(known)
    token = read_json(folder / rundir.RECORD)["token"]
    known.create_run(run.info.experiment_id, tags={tracking.TOKEN: token})
    assert len(all_runs(known)) == 2
    publish([])
    assert [left.info.status for left in all_runs(known)] == ["FINISHED"]


def test_publish_refuses_what_is_no_run_and_tells_the_others(project, folder, capsys):
    run_all(config.load(["train.epochs=1", "tracking=off"]), folder, [])
    with pytest.raises(InputError, match="nowhere/run.json: not readable"):
        publish([project.path / "nowhere"])
    torn = folder.with_name("another")
    torn.mkdir()
    write_json(torn / rundir.RECORD, {"run_id": "x"})
    with pytest.raises(RunError, match="another/run.json: not a run's record: experiment is None"):
        publish([])
    assert len(all_runs(client(project.path))) == 1


def test_required_tracking_that_fails_fails_the_command_and_not_the_run(project, folder, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", DEAD)
    done = project.run("epochwise", "run", "train.epochs=1", "tracking.required=true", MLFLOW_TRACKING_URI=DEAD)
    assert done.returncode == 1
    warned, error = done.stderr.splitlines()[-2:]
    assert warned.startswith("warning: MLflow") and "`epochwise publish` tells it" in warned
    assert "which tracking.required asks for" in error
    (made,) = project.path.glob("outputs/*/*")
    assert rundir.complete(made)["published"] is False


class Failing(http.server.BaseHTTPRequestHandler):
    def _fail(self) -> None:
        self.send_error(500)

    do_GET = do_POST = _fail  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


def test_a_server_that_answers_500(project, folder, monkeypatch, capsys):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Failing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
        run_all(config.load(["train.epochs=2"]), folder, [])
        server.shutdown()
    assert capsys.readouterr().err.count("warning: MLflow") == 1
    assert rundir.complete(folder)["published"] is False


def test_a_server_that_never_answers_holds_up_no_epoch(project, folder, monkeypatch, capsys):
    done = []
    monkeypatch.setattr("epochwise.tracking.warn", lambda *_: done.append(len(history.read(folder / rundir.HISTORY))))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        run_all(config.load(["train.epochs=2"]), folder, [])
    assert done == [2], "it was given up once, when all epochs were trained"
    assert rundir.complete(folder)["published"] is False


def test_a_locked_database_is_waited_for_by_no_training_and_told_once_it_is_free(project, folder, monkeypatch):
    monkeypatch.setattr("epochwise.live.PAUSE", 0.5)
    trained = threading.Event()
    with sqlite3.connect(project.path / "mlflow.db", isolation_level=None, check_same_thread=False) as holder:
        holder.execute("BEGIN EXCLUSIVE")

        def free() -> None:
            deadline = time.monotonic() + 120
            while not (folder / rundir.METRICS).is_file() and time.monotonic() < deadline:
                time.sleep(0.05)
            trained.set()
            holder.execute("ROLLBACK")

        threading.Thread(target=free, daemon=True).start()
        run_all(config.load(["train.epochs=2"]), folder, [])
    assert trained.is_set(), "all was on disk while the database was locked"
    (run,) = all_runs(client(project.path))
    assert run.info.status == "FINISHED"
    assert read_json(folder / rundir.RECORD)["published"] == tracking.tracking_uri(project.path)


def test_secrets_of_the_tracking_uri_are_nowhere(project, folder, monkeypatch, capsys):
    secret = "s3cr3t"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:{secret}@127.0.0.1:9/?token={secret}")
    run_all(config.load(["train.epochs=1"]), folder, [])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project.path}/mlflow.db?password={secret}")
    assert tracking.server_name(project.path) == f"sqlite:///{project.path}/mlflow.db"
    said = capsys.readouterr()
    assert secret not in said.out + said.err
    for path in project.path.rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), path


def test_the_diff_of_dirty_code_holds_no_file_that_git_does_not_track(project, folder):
    (project.path / ".gitignore").open("a").write("\n.env\n")
    project.ok("git", "commit", "--quiet", "--all", "--message", "ignore")
    (project.path / ".env").write_text("KEY=s3cr3t")
    (project.path / "notes.txt").write_text("also s3cr3t")
    project.edit("params.yaml", "seed: 0", "seed: 1")
    run_all(config.load(["train.epochs=1"]), folder, [])
    diff = (folder / rundir.DIFF).read_text()
    assert "seed: 1" in diff and "untracked, not in this diff: notes.txt" in diff
    assert "s3cr3t" not in diff and ".env" not in diff
    (run,) = all_runs(client(project.path))
    assert not any("s3cr3t" in value for value in run.data.tags.values())


def test_files_are_told_by_their_sha256(project, folder):
    run_all(config.load(["train.epochs=1"]), folder, [])
    (run,) = all_runs(client(project.path))
    told = json.loads(run.data.tags[view.FILES])
    for name in (rundir.CONFIG, rundir.HISTORY, rundir.MODEL, rundir.RECORD):
        assert told[name] == hashlib.sha256((folder / name).read_bytes()).hexdigest()
