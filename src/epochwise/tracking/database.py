"""SQLite databases as tracking servers: made by one process at a time; the project's own is moved with the project.

MLflow is imported inside a function, for its cost (see `tracking/__init__.py`).
"""

import contextlib
import os
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from epochwise.common.files import replacing, temporary_names
from epochwise.common.locks import locked
from epochwise.tracking.address import DATABASE, database_file, tracking_uri

ARTIFACTS = "mlruns"
ADDRESS_COLUMNS = {  # the tables of MLflow's database that hold addresses of artifacts, and the columns with them
    **{"experiments": "artifact_location", "runs": "artifact_uri", "logged_models": "artifact_location"},
    **{"model_versions": "storage_location"},
}


def store_folder(root: Path) -> Path:
    """Where the tracking server's artifacts lie if it leaves that to the project: beside an SQLite database, else in
    the main checkout `root`, so that they outlive every copy of it.
    """
    database = database_file(tracking_uri(root))
    return database.parent if database else root


def artifact_location(folder: Path, experiment: str) -> str:
    """The address of an experiment's artifacts in the folder of a store."""
    return (folder / ARTIFACTS / experiment).as_uri()


@contextlib.contextmanager
def setup_lock(root: Path) -> Iterator[None]:
    """One process at a time makes tables or an experiment, since MLflow does both without a lock.

    Of several processes that make tables at once most fail, and the database may never work again. Of several that
    make an experiment all but one log into MLflow's experiment "Default". The lock lies beside the database, so that
    several projects can share one.
    """
    with locked(store_folder(root) / ARTIFACTS / ".lock"):
        yield


def make_database(path: Path) -> None:
    """Make MLflow's tables, all or none, if the file does not exist: MLflow cannot use a half-made database."""
    if path.exists():
        return
    import mlflow

    temporary = temporary_names(path.name)
    for other in path.parent.iterdir():
        if temporary.fullmatch(re.sub("-(journal|wal|shm)$", "", other.name)):  # of a process that was killed in here
            other.unlink()
    with replacing(path) as new:
        client = mlflow.MlflowClient(f"sqlite:///{new}")
        client.delete_experiment("0")  # "Default", which would stay empty
        new.chmod(0o666 & ~_umask())  # SQLite lets only the owner write, whatever the umask allows
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode=WAL")  # readers and writers no longer wait for each other


def check_writable(path: Path) -> None:
    """Raise PermissionError if this user may not write an existing database: MLflow would print pages of traces."""
    if path.exists() and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        raise PermissionError(f"{path}: this user may not write the database, or not the folder that it is in")


def experiment_ids(path: Path) -> dict[str, str]:
    """The ids of the experiments in an SQLite database by name, read without MLflow, whose import takes seconds."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        found = database.execute("SELECT name, experiment_id FROM experiments WHERE lifecycle_stage = 'active'")
        return {name: str(number) for name, number in found.fetchall()}


def relocate_artifacts(root: Path) -> None:
    """Correct the addresses of artifacts after the project was moved: MLflow stores absolute paths."""
    with contextlib.closing(sqlite3.connect(root / DATABASE)) as database, database:
        query = "SELECT name, artifact_location FROM experiments WHERE artifact_location LIKE 'file:%'"
        for name, before in database.execute(query).fetchall():
            now = artifact_location(root, name)
            if before == now or not before.endswith(f"/{ARTIFACTS}/{quote(name)}"):
                continue
            for table, column in ADDRESS_COLUMNS.items():
                database.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) IN (?, ?)",
                    (now, len(before) + 1, len(before) + 1, before, f"{before}/"),
                )


def _umask() -> int:
    """What this process takes from the permissions of new files; reading it by os.umask would change it for threads."""
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("Umask:"):
            return int(line.split()[1], 8)
    return 0o022
