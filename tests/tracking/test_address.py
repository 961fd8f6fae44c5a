"""The tracking address: which store it names, where that lies, and what is refused because it is none."""

import sqlite3

import pytest

from epochwise.commands import ui
from epochwise.common.errors import InputError
from epochwise.tracking.address import check_address, how_to_show, is_local, store_exists, tracking_uri
from epochwise.tracking.database import artifact_location, store_folder


@pytest.mark.parametrize(
    "given, uri, artifacts",
    [
        ("", "sqlite:///{root}/mlflow.db", "{root}/mlruns"),
        ("sqlite:///mlflow.db", "sqlite:///{root}/mlflow.db", "{root}/mlruns"),
        ("sqlite:///other.db", "sqlite:///{root}/other.db", "{root}/mlruns"),
        ("sqlite:////team/other.db?timeout=30", "sqlite:////team/other.db?timeout=30", "/team/mlruns"),
        ("sqlite:///sub/../other.db", "sqlite:///{root}/sub/../other.db", "{root}/sub/../mlruns"),
        ("postgresql+psycopg2://me:pw@host/db", "postgresql+psycopg2://me:pw@host/db", "{root}/mlruns"),
        ("http://host:5000", "http://host:5000", "{root}/mlruns"),
        ("./mlruns", "file://{root}/mlruns", "{root}/mlruns"),
        ("file:./runs", "file://{root}/runs", "{root}/mlruns"),
        ("file:///team/runs", "file:///team/runs", "{root}/mlruns"),
    ],
)
def test_a_path_in_the_address_starts_in_the_main_checkout(tmp_path, monkeypatch, given, uri, artifacts):
    """A copy of the project, as DVC makes for an experiment, is removed with all in it."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    monkeypatch.chdir(tmp_path.parent)
    assert tracking_uri(tmp_path) == uri.format(root=tmp_path)
    assert str(store_folder(tmp_path) / "mlruns") == artifacts.format(root=tmp_path)
    assert is_local(tmp_path) == (given in ("", "sqlite:///mlflow.db"))


NO_ADDRESSES = [
    ("nonsense", "is no address, and no folder"),
    ("mlflow.example.org", "is no address, and no folder"),
    ("127.0.0.1:5000", "is no address, and no folder"),
    ("localhost:5000", "has no scheme: http://localhost:5000"),
    ("htp://localhost:5000", "MLflow knows no htp:"),
    ("http://", "names no server"),
    ("http:///runs", "names no server"),
    ("http://host:port", "is no address ("),
    ("http://me:s3cr[et@host", "is no address ("),
    ("sqlite://mlflow.db", "names no file"),
    ("sqlite:///", "names no file"),
    ("sqlite:///:memory:", "names no file"),
    ("./mlruns", "MLflow no longer writes a store of plain files, unless MLFLOW_ALLOW_FILE_STORE=true"),
    ("file:///team/runs", "MLflow no longer writes a store of plain files"),
]


@pytest.mark.parametrize("given, problem", NO_ADDRESSES)
def test_what_is_no_address_is_refused_in_one_line(monkeypatch, tmp_path, given, problem):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    with pytest.raises(InputError) as refused:
        check_address()
    message = str(refused.value)
    assert message.startswith("MLFLOW_TRACKING_URI=") and problem in message and "\n" not in message
    assert "write http://HOST:PORT" in message and "s3cr" not in message


@pytest.mark.parametrize(
    "given",
    [
        "",
        "  ",
        "http://host",
        "https://me:pw@host:5000/path",
        "sqlite:///other.db",
        "databricks",
        "databricks://profile",
    ]
    + ["postgresql://host/db", "mysql+pymysql://host/db", "file:///team/runs", "./mlruns"],
)
def test_what_can_be_an_address_is_taken(monkeypatch, given):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    check_address()


@pytest.mark.parametrize(
    "command",
    [
        ("check",),
        ("run", "train.epochs=1"),
        ("run", "-m", "train.epochs=1,2"),
        ("train",),
        ("evaluate",),
        ("publish",),
        ("ui",),
        ("predict", "--random", "1", "--model", "champion"),
        ("reproduce", "0123"),
    ],
)
def test_no_command_takes_nonsense_for_a_server_that_is_away(project, monkeypatch, command):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "htp://localhost:5000")
    if command[0] in ("train", "evaluate"):
        assert project.cli("prepare").returncode == 0
    done = project.cli(*command)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "MLFLOW_TRACKING_URI=htp://localhost:5000: MLflow knows no htp:" in done.stderr
    assert not [*project.path.glob("outputs/*"), *project.path.glob("multirun/*"), *project.path.glob("models/*")]


def test_without_tracking_the_address_does_not_matter(project, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense")
    assert project.cli("check", "tracking=off").returncode == 0


@pytest.fixture
def served(monkeypatch) -> list[str]:
    """The addresses that `epochwise ui` would serve; no server is started."""
    addresses: list[str] = []

    class Server:
        def wait(self) -> None:
            pass

    class Serving:
        def __init__(self, uri, port):
            addresses.append(uri)

        def __enter__(self):
            return Server()

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(ui, "_server", Serving)
    monkeypatch.setattr(ui, "_answers", lambda *_: True)
    return addresses


@pytest.mark.parametrize("given", ["sqlite:///other.db", "sqlite:///{root}/other.db"])
def test_ui_shows_the_store_that_runs_are_logged_to(project, monkeypatch, served, given):
    for name, number in (("mlflow.db", 1), ("other.db", 7)):
        with sqlite3.connect(project.path / name) as database:
            database.execute("CREATE TABLE experiments (name, experiment_id, lifecycle_stage)")
            database.execute("INSERT INTO experiments VALUES ('epochwise', ?, 'active')", (number,))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", given.format(root=project.path))
    done = project.cli("ui")
    assert served == [f"sqlite:///{project.path}/other.db"]
    assert "#/experiments/7/" in done.stdout and f"in sqlite:///{project.path}/other.db" in done.stdout
    assert how_to_show(project.path) == f"MLFLOW_TRACKING_URI='sqlite:///{project.path}/other.db' make ui"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert "#/experiments/1/" in project.cli("ui").stdout
    assert how_to_show(project.path) == "make ui"


def test_ui_says_which_store_has_no_runs(project, monkeypatch, served):
    (project.path / "mlflow.db").touch()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///other.db")
    done = project.cli("ui")
    assert (done.returncode, served) == (2, [])
    assert f"no runs to show yet in sqlite:///{project.path}/other.db" in done.stderr


def test_a_password_is_in_no_command(project, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:s3cr3t@host/db")
    assert how_to_show(project.path) == "make ui, with MLFLOW_TRACKING_URI as it is now"


def test_a_store_of_files_exists_if_its_folder_does(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "./runs")
    assert not store_exists(tmp_path)
    (tmp_path / "runs").mkdir()
    assert store_exists(tmp_path)
    assert artifact_location(tmp_path, "a b") == f"file://{tmp_path}/mlruns/a%20b"
