"""The tracking server's address: MLFLOW_TRACKING_URI, or the project's own database. Nothing here imports MLflow."""

import os
import shlex
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import unquote, urlsplit

from epochwise.common.errors import InputError
from epochwise.tracking.redacted_errors import without_secrets

VARIABLE = "MLFLOW_TRACKING_URI"
FILES_ALLOWED = "MLFLOW_ALLOW_FILE_STORE"  # MLflow refuses its store of plain files without this
DATABASE = "mlflow.db"
SQLITE = "sqlite:///"
DATABASES = ("postgresql", "mysql", "mssql")  # servers that MLflow can write to without a tracking server
WAY_OUT = "write http://HOST:PORT of a server or sqlite:///PATH of a database, or unset it for this project's own"


def local_uri(root: Path) -> str:
    """The project's own database. Its path is absolute, so that no change of the working directory moves it."""
    return f"{SQLITE}{root / DATABASE}"


def tracking_uri(root: Path) -> str:
    """MLFLOW_TRACKING_URI, or the database in the main checkout `root`.

    A path in it is made absolute, from `root`: a copy of the project, such as one of DVC's, is removed with all in it.
    """
    given = _given()
    if not given:
        return local_uri(root)
    if given.startswith(SQLITE):
        path, mark, query = given.removeprefix(SQLITE).partition("?")
        return f"{SQLITE}{root / path}{mark}{query}"
    if _is_path(given):
        return (root / _path(given)).as_uri()
    return given


def is_remote(root: Path) -> bool:
    """Whether the address is that of a tracking server, which has pages of its own."""
    return tracking_uri(root).lower().startswith(("http:", "https:"))


def server_name(root: Path) -> str:
    """The address of the tracking server without what may be secret in it."""
    return without_secrets(tracking_uri(root)).partition("?")[0]


def server_identity(root: Path) -> str:
    """What distinguishes servers: the word "local" for the project's own database, as the project can be moved."""
    return "local" if is_local(root) else server_name(root)


def is_local(root: Path) -> bool:
    """Whether the tracking server is the project's own database."""
    return tracking_uri(root) == local_uri(root)


def database_file(uri: str) -> Path | None:
    """The file of an SQLite address, which may end in a query; None of any other address."""
    return Path(uri.removeprefix(SQLITE).partition("?")[0]) if uri.startswith(SQLITE) else None


def store_exists(root: Path) -> bool:
    """False if the address is that of a file or a folder that does not exist. Servers may exist: True."""
    uri = tracking_uri(root)
    database = database_file(uri)
    if database is not None:
        return database.is_file()
    return not _is_path(uri) or _path(uri).is_dir()


def check_address() -> None:
    """Raise InputError unless MLFLOW_TRACKING_URI is an address that MLflow can do something with."""
    given = _given()
    problem = _problem(given) if given else ""
    if problem:
        raise InputError(f"{VARIABLE}={without_secrets(given)}: {problem}; {WAY_OUT}")


def how_to_show(root: Path) -> str:
    """The command that shows the pages of a store that is no server: `make ui`, for another one with its address."""
    if is_local(root):
        return "make ui"
    shown = server_name(root)
    if shown != tracking_uri(root):
        return f"make ui, with {VARIABLE} as it is now"
    return f"{VARIABLE}={shlex.quote(shown)} make ui"


def _given() -> str:
    return os.environ.get(VARIABLE, "").strip()


def _problem(given: str) -> str:
    """What is wrong with an address; nothing if it can be one."""
    try:
        address = urlsplit(given)
        _ = address.port
    except ValueError as error:
        return f"is no address ({without_secrets(str(error))})"
    scheme = address.scheme.partition("+")[0]
    if scheme in ("http", "https"):
        return "" if address.hostname else "names no server"
    if scheme == "sqlite":
        path = given.removeprefix(SQLITE).partition("?")[0]
        return "" if given.startswith(SQLITE) and path not in ("", ":memory:") else "names no file"
    if scheme in DATABASES:
        return ""
    if _is_path(given):
        return _folder_problem(given)
    if given in ("databricks", "databricks-uc", "uc") or scheme in ("databricks", "databricks-uc", "uc"):
        return ""
    if scheme in {store.name for store in entry_points(group="mlflow.tracking_store")}:
        return ""
    if address.path.partition("/")[0].isdecimal():  # server:5000, whose name is taken for a scheme
        return f"has no scheme: http://{given}"
    return f"MLflow knows no {scheme}:"


def _folder_problem(given: str) -> str:
    """What is wrong with the path of a store of plain files."""
    path = _path(given)
    if not given.startswith(("file:", "/", ".", "~")) and len(path.parts) == 1 and not path.is_dir():
        return "is no address, and no folder"
    if os.environ.get(FILES_ALLOWED, "").lower() not in ("true", "1"):
        return f"MLflow no longer writes a store of plain files, unless {FILES_ALLOWED}=true"
    return ""


def _is_path(uri: str) -> bool:
    return urlsplit(uri).scheme in ("", "file") and uri not in ("databricks", "databricks-uc", "uc")


def _path(uri: str) -> Path:
    path = unquote(urlsplit(uri).path) if uri.startswith("file:") else uri
    return Path(path).expanduser()
