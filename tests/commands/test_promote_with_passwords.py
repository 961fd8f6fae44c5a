"""`epochwise promote` by ordinary users of MLflow's own server with passwords."""

import base64
import json
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from conftest import Project, clean_environment, wait_for

pytestmark = pytest.mark.long  # its server spends seconds on a request with a password

SETTINGS = """\
[mlflow]
default_permission = READ
database_uri = sqlite:///{folder}/users.db
admin_username = admin
admin_password = the-admins-password
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
"""
USERS = {"anna": "annas-long-password", "bert": "berts-long-password"}


@pytest.fixture
def server(project, tmp_path) -> Iterator[str]:
    """The address of a server with two ordinary users, who may read what is not theirs."""
    (tmp_path / "auth.ini").write_text(SETTINGS.format(folder=tmp_path))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {"MLFLOW_AUTH_CONFIG_PATH": str(tmp_path / "auth.ini"), "MLFLOW_FLASK_SERVER_SECRET_KEY": "secret"}
    own |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    stores = ["--backend-store-uri", f"sqlite:///{tmp_path}/server.db", "--artifacts-destination", str(tmp_path / "a")]
    command = ["mlflow", "server", "--app-name", "basic-auth", "--host", "127.0.0.1", "--port", str(port), *stores]
    with open(tmp_path / "server.log", "wb") as log:
        options = {"stdout": log, "stderr": log, "start_new_session": True}
        process = subprocess.Popen([*command, "--workers", "1"], env=clean_environment() | own, **options)
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(lambda: _created(address, "anna"), seconds=120)
        assert _created(address, "bert")
        yield address
    finally:
        subprocess.run(["pkill", "-TERM", "-s", str(process.pid)], check=False)
        process.wait(30)


def test_an_ordinary_user_promotes_and_another_one_may_not_replace(project, server):
    project.ok("epochwise", "run", "experiment=quick", "train.epochs=1", **_as_user(server, "anna"))
    run_id = _run_id(project)
    promoted = project.ok("epochwise", "promote", run_id, **_as_user(server, "anna"))
    assert f"{run_id} (val_accuracy " in promoted and "is the champion of epochwise-digits: version 1" in promoted
    predicted = project.ok("epochwise", "predict", "--random", "3", "--model", "champion", **_as_user(server, "bert"))
    assert "3 random test images" in predicted

    refused = project.run("epochwise", "promote", run_id[:8], "--force", **_as_user(server, "bert"))
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1), "bert may read what is anna's, not change it"
    overrides = ("experiment=quick", "train.epochs=2", "tracking.experiment=berts")
    project.ok("epochwise", "run", *overrides, **_as_user(server, "bert"))
    promoted = project.ok("epochwise", "promote", _run_id(project), **_as_user(server, "bert"))
    assert "is the champion of berts-digits: version 1" in promoted


def test_a_wrong_password_is_one_line(project, server):
    done = project.run(
        "epochwise", "predict", "--random", "1", "--model", "champion", **_as_user(server, "anna") | {PASSWORD: "wrong"}
    )
    assert done.returncode in (1, 2) and done.stderr.count("\n") == 1 and "wrong" not in done.stderr


USERNAME, PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"


def _as_user(address: str, name: str) -> dict[str, str]:
    patience = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "120"}  # seconds, for a machine that is busy with other tests
    return {"MLFLOW_TRACKING_URI": address, USERNAME: name, PASSWORD: USERS[name]} | patience


def _run_id(project: Project) -> str:
    records = sorted(project.path.glob("outputs/**/run.json"), key=lambda path: path.stat().st_mtime)
    return json.loads(records[-1].read_text())["run_id"]


def _created(address: str, name: str) -> bool:
    """Whether the server made the user; False while it does not answer yet."""
    body = json.dumps({"username": name, "password": USERS[name]}).encode()
    secret = base64.b64encode(b"admin:the-admins-password").decode()
    heads = {"Content-Type": "application/json", "Authorization": f"Basic {secret}"}
    request = urllib.request.Request(f"{address}/api/2.0/mlflow/users/create", body, heads)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status == 200
    except urllib.error.HTTPError as error:
        raise AssertionError(error.read().decode()) from error
    except OSError:
        return False
