"""Warnings about MLflow: one line that says what is wrong, without a secret."""

import socket

import pytest
from mlflow_runs import all_runs, client, provide_database, run_directory, train

from epochwise.tracking.address import server_name
from epochwise.tracking.redacted_errors import reason, warn

SECRET = "s3cr3t"

pytestmark = pytest.mark.usefixtures("plain_pictures")


def test_a_failed_request_is_reported_by_its_server_and_the_innermost_cause():
    import requests

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(RuntimeError) as raised:
        try:
            requests.get(f"http://somebody:secret@127.0.0.1:{port}/api/2.0/mlflow/runs/get", timeout=60)
        except requests.ConnectionError as error:
            raise RuntimeError("half a page") from error
    assert reason(raised.value) == f"http://127.0.0.1:{port}: [Errno 111] Connection refused"


def test_a_reason_is_one_line_and_never_empty():
    assert reason(RuntimeError("two\nlines")) == "two lines"
    first, second = RuntimeError("first"), RuntimeError("second")
    first.__cause__, second.__cause__ = second, first
    assert reason(first) == "first"
    assert reason(RuntimeError()) == "RuntimeError"


def test_a_warning_is_short_and_says_what_follows(capsys):
    warn(RuntimeError("word " * 1000), "nothing is lost")
    warning = capsys.readouterr().err
    assert warning.startswith("warning: MLflow (RuntimeError: word word") and warning.endswith("…); nothing is lost\n")
    assert len(warning) < 400 and warning.count("\n") == 1


def test_secrets_of_the_address_are_nowhere(project, monkeypatch, capsys):
    provide_database(project)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:{SECRET}@127.0.0.1:9/?token={SECRET}")
    train(run_directory(project), "train.epochs=1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project.path}/mlflow.db?password={SECRET}")
    assert server_name(project.path) == f"sqlite:///{project.path}/mlflow.db"
    printed = capsys.readouterr()
    assert SECRET not in printed.out + printed.err
    for path in project.path.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), path


def test_secrets_of_the_environment_are_in_no_reason(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", SECRET)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0k3n")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:p%40ss@host/")
    assert reason(RuntimeError(f"{SECRET} t0k3n p%40ss p@ss")) == "… … … …"


@pytest.mark.slow
def test_the_diff_of_changed_code_holds_no_file_that_git_does_not_track(project):
    provide_database(project)
    (project.path / ".gitignore").open("a").write("\n.env\n")
    project.ok("git", "commit", "--quiet", "--all", "--message", "ignore")
    (project.path / ".env").write_text(f"KEY={SECRET}")
    (project.path / "notes.txt").write_text(f"also {SECRET}")
    project.edit("params.yaml", "seed: 0", "seed: 1")
    run = run_directory(project)
    train(run, "train.epochs=1")
    diff = run.diff.read_text()
    assert "seed: 1" in diff and "untracked, not in this diff: notes.txt" in diff
    assert SECRET not in diff and ".env" not in diff
    (logged,) = all_runs(client(project.path))
    assert not any(SECRET in value for value in logged.data.tags.values())
