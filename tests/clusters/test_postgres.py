"""A team's server: PostgreSQL and MLflow with passwords, several users, several clones."""

import json
import subprocess

import mlflow
import pytest
from cluster_nodes import TeamServer, descendants, postgres, s3_server, strangers
from conftest import clean_environment, copy_project, wait_for

MAX_REQUESTS = 26  # of two epochs without uncommitted code: 14 files, 10 others, and one an epoch where these are slow


@pytest.mark.slow
def test_postgres_two_users_sweep_at_once(project, tmp_path):
    other = copy_project(tmp_path / "other")
    command = ("epochwise", "run", "-m", "train.epochs=1,2", "train.decay_every=1")
    users = [("anna", project), ("bert", other)]
    with postgres() as database:
        server = TeamServer(tmp_path, database.address)
        server.start()
        try:
            assert strangers(descendants(server.process.pid)) == []
            processes = [
                subprocess.Popen(
                    [*command, f"tracking.experiment=of-{user}"],
                    cwd=where.path,
                    env=clean_environment() | server.as_user(user),
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
                for user, where in users
            ]
            printed = [process.communicate(timeout=900)[0] for process in processes]
            assert [process.returncode for process in processes] == [0, 0], "\n".join(printed)
        finally:
            server.stop()
    assert [text.count("done: ") for text in printed] == [2, 2]
    assert all(f"runs {server.address}" in text for text in printed), "the leaderboard is on the server, too"
    assert "secret" not in "".join(printed) and "warning" not in "".join(printed)


@pytest.mark.long
def test_postgres_a_run_costs_few_requests(project, tmp_path):
    with postgres() as database:
        server = TeamServer(tmp_path, database.address)
        server.start()
        try:
            project.ok("epochwise", "run", "train.epochs=2", **server.as_user("anna"))
            before = len(server.requests())
            project.ok("epochwise", "run", "train.epochs=2", "seed=3", **server.as_user("anna"))
            requests = server.requests()[before:]
            assert 0 < len(requests) <= MAX_REQUESTS, "\n".join(requests)
        finally:
            server.stop()


@pytest.mark.long
@pytest.mark.parametrize("away", ["server", "database"])
def test_postgres_all_is_there_after_publish_if_server_or_database_were_away(project, tmp_path, monkeypatch, away):
    with postgres() as database:
        server = TeamServer(tmp_path, database.address)
        server.start()
        stopped = server if away == "server" else database
        try:
            command = ["epochwise", "run", "-m", "train.epochs=2", "seed=range(0,6)"]
            environment = clean_environment() | server.as_user("anna") | {"MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
            process = subprocess.Popen(command, cwd=project.path, env=environment, stdout=subprocess.PIPE, text=True)
            wait_for(lambda: list(project.path.glob("multirun/*/*/1/run.json")), "the second run")
            stopped.stop()
            wait_for(lambda: list(project.path.glob("multirun/*/*/3/run.json")), "the fourth run")
            stopped.start()
            printed, _ = process.communicate(timeout=900)
            assert process.returncode == 0, printed
            project.ok("epochwise", "publish", **server.as_user("anna"))
            records = [json.loads(path.read_text()) for path in project.path.glob("multirun/*/*/*/run.json")]
            assert [record["published"] for record in records] == [server.address] * 6
            up_to_date = project.ok("epochwise", "publish", **server.as_user("anna"))
            assert up_to_date.count("up to date in MLflow as ") == 6
            for name, value in server.as_user("anna").items():
                monkeypatch.setenv(name, value)
            client = mlflow.MlflowClient(server.address)
            runs = client.search_runs([client.get_experiment_by_name("epochwise").experiment_id])
            assert sorted(run.data.tags["weights_sha256"] for run in runs) == sorted(
                record["weights_sha256"] for record in records
            )
            for run in runs:
                points = client.get_metric_history(run.info.run_id, "val_accuracy")
                assert run.info.status == "FINISHED" and [point.step for point in points] == [1, 2]
                assert {"run.json", "results.zip"} <= {item.path for item in client.list_artifacts(run.info.run_id)}
        finally:
            server.stop()


@pytest.mark.long
def test_postgres_and_s3_another_clone_predicts_with_a_run_whose_files_are_in_s3(project, tmp_path):
    """The server has the keys; users have none."""
    other = copy_project(tmp_path / "other")
    with postgres() as database, s3_server(tmp_path) as s3:
        server = TeamServer(tmp_path, database.address, "s3://team/artifacts", **s3)
        server.start()
        try:
            project.ok("epochwise", "run", "train.epochs=2", **server.as_user("anna"))
            (path,) = project.path.glob("outputs/*/*/run.json")
            record = json.loads(path.read_text())
            assert record["published"] == server.address
            assert not (tmp_path / "artifacts").exists()
            predict = (
                "epochwise",
                "predict",
                "--random",
                "12",
                "--seed",
                "1",
                "--format",
                "csv",
                "--model",
                record["run_id"],
            )
            predicted = other.ok(*predict, **server.as_user("bert"))
            assert predicted.count("\n") == 13 and predicted == project.ok(*predict), "the first asks the server"
        finally:
            server.stop()
