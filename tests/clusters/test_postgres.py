"""A team's server: PostgreSQL and MLflow with passwords, several users, several clones."""

import json
import subprocess

import pytest
from cluster_nodes import TeamServer, descendants, postgres, strangers
from conftest import clean_environment, copy_project, wait_for

MAX_REQUESTS = 36  # of a run: 19 files, and 15 requests of a run of one or two syncs; each costs 0.3 s of hashing


@pytest.mark.slow
def test_postgres_two_users_sweep_at_once(project, tmp_path):
    other = copy_project(tmp_path / "other")
    command = ("epochwise", "run", "-m", "train.epochs=1,2", "train.decay_every=1")
    users = [("anna", project), ("bert", other)]
    with postgres() as database:
        server = TeamServer(tmp_path, database)
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
        server = TeamServer(tmp_path, database)
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
def test_postgres_a_server_that_is_started_again_has_all_after_publish(project, tmp_path):
    with postgres() as database:
        server = TeamServer(tmp_path, database)
        server.start()
        try:
            command = ["epochwise", "run", "-m", "train.epochs=2", "seed=range(0,6)"]
            environment = clean_environment() | server.as_user("anna") | {"MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
            process = subprocess.Popen(command, cwd=project.path, env=environment, stdout=subprocess.PIPE, text=True)
            wait_for(lambda: list(project.path.glob("multirun/*/*/1/run.json")), "the second run")
            server.stop()
            wait_for(lambda: list(project.path.glob("multirun/*/*/3/run.json")), "the fourth run")
            server.start()
            printed, _ = process.communicate(timeout=900)
            assert process.returncode == 0, printed
            project.ok("epochwise", "publish", **server.as_user("anna"))
            records = [json.loads(path.read_text()) for path in project.path.glob("multirun/*/*/*/run.json")]
            assert [record["published"] for record in records] == [server.address] * 6
            up_to_date = project.ok("epochwise", "publish", **server.as_user("anna"))
            assert up_to_date.count("up to date in MLflow as ") == 6
        finally:
            server.stop()
