"""Commands that cannot do without MLflow: exit code 1 if it does not answer, 2 if it has no such thing."""

import http.server
import sqlite3
import threading

import pytest
from mlflow_runs import NO_SERVER, provide_database

COMMANDS = [
    ("predict", "--random", "1", "--model", "0123"),
    ("predict", "--random", "1", "--model", "champion"),
    ("export", "0123"),
    ("promote", "0123"),
    ("reproduce", "0123"),
]
ASKED_BY_ID = [command for command in COMMANDS if "champion" not in command]


class Refusing(http.server.BaseHTTPRequestHandler):
    """A server, or a proxy before it, that answers all requests in the same way."""

    status, body = 503, b"<html>maintenance</html>"

    def _answer(self) -> None:
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    do_GET = do_POST = _answer

    def log_message(self, *_: object) -> None:
        pass


class Unknown(Refusing):
    status, body = 404, b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such thing"}'


@pytest.fixture
def served(request, monkeypatch):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), request.param) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
        yield
        server.shutdown()


def assert_one_line(done, code: int) -> None:
    assert (done.returncode, done.stderr.count("\n")) == (code, 1), done.stderr
    assert done.stderr.startswith("error: ")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_server_that_is_away_is_exit_code_1(project, monkeypatch, command):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NO_SERVER)
    done = project.cli(*command)
    assert_one_line(done, 1)
    assert "Connection refused" in done.stderr


@pytest.mark.parametrize("served", [Refusing], indirect=True)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_server_that_fails_is_exit_code_1(project, served, command):
    assert_one_line(project.cli(*command), 1)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_damaged_database_is_exit_code_1(project, command):
    provide_database(project)
    (project.path / "mlflow.db").write_bytes(b"not a database" * 1000)
    assert_one_line(project.cli(*command), 1)


def test_a_locked_database_is_exit_code_1(project, monkeypatch):
    provide_database(project)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project.path}/mlflow.db?timeout=0")
    with sqlite3.connect(project.path / "mlflow.db", isolation_level=None) as holder:
        holder.execute("PRAGMA journal_mode=DELETE")
        holder.execute("BEGIN EXCLUSIVE")
        assert_one_line(project.cli("promote", "0123"), 1)


@pytest.mark.parametrize("command", ASKED_BY_ID)
def test_a_run_that_mlflow_does_not_have_is_exit_code_2(project, command):
    provide_database(project)
    done = project.cli(*command)
    assert_one_line(done, 2)
    assert "0123: no run with a model here or in MLflow" in done.stderr


@pytest.mark.parametrize("served", [Unknown], indirect=True)
@pytest.mark.parametrize("command", ASKED_BY_ID)
def test_a_run_that_a_server_does_not_have_is_exit_code_2(project, served, command):
    assert_one_line(project.cli(*command), 2)
