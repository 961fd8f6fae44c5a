"""The project's own tracking server, an SQLite database: made by one process at a time, and moved with the project.

MLflow is imported inside a function, for its cost (see `tracking/__init__.py`).
"""

import contextlib
import sqlite3
from pathlib import Path
from urllib.parse import quote

from filelock import FileLock

from epochwise.common.files import replacing

DATABASE = "mlflow.db"
ARTIFACTS = "mlruns"
ADDRESS_COLUMNS = {  # the tables of MLflow's database that hold addresses of artifacts, and the columns with them
    **{"experiments": "artifact_location", "runs": "artifact_uri", "logged_models": "artifact_location"},
    **{"model_versions": "storage_location"},
}


def local_uri(root: Path) -> str:
    """The project's own database. Its path is absolute, so that no change of the working directory moves it."""
    return f"sqlite:///{root / DATABASE}"


def database_file(uri: str) -> Path | None:
    """The file of an SQLite address, which may end in a query; None of any other address."""
    return Path(uri.removeprefix("sqlite:///").partition("?")[0]) if uri.startswith("sqlite:///") else None


def artifact_location(root: Path, experiment: str) -> str:
    """The address of an experiment's artifacts: in the main checkout, so that they outlive every copy of it."""
    return (root / ARTIFACTS / experiment).as_uri()


def setup_lock(root: Path) -> FileLock:
    """One process at a time makes tables or an experiment, since MLflow does both without a lock.

    Of several processes that make tables at once most fail, and the database may never work again. Of several that
    make an experiment all but one log into MLflow's experiment "Default".
    """
    (root / ARTIFACTS).mkdir(exist_ok=True)
    return FileLock(root / ARTIFACTS / ".lock")


def make_database(path: Path) -> None:
    """Make MLflow's tables, all or none, if the file does not exist: MLflow cannot use a half-made database."""
    if path.exists():
        return
    import mlflow

    for abandoned in path.parent.glob(f".*.{path.name}*"):  # by a process that was killed in here
        abandoned.unlink()
    with replacing(path) as temporary:
        client = mlflow.MlflowClient(f"sqlite:///{temporary}")
        client.delete_experiment("0")  # "Default", which would stay empty
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode=WAL")  # readers and writers no longer wait for each other


def experiment_ids(root: Path) -> dict[str, str]:
    """The ids of the experiments in the project's database by name, read without MLflow, whose import takes seconds."""
    with contextlib.closing(sqlite3.connect(root / DATABASE)) as database:
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
