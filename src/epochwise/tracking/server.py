"""MLflow, imported here only: where it is, its experiments, what a run of it can be told, its registry."""

import contextlib
import json
import logging
import os
import re
import sqlite3
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from filelock import FileLock

from epochwise.common.errors import InputError
from epochwise.common.files import replacing

MOST_METRICS = 1000  # in one call of MLflow's log_batch
CHAMPION = "champion"  # the alias in the registry
NO_CHAMPION = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # MLflow: no such model; no such alias
LOCAL_UI = "http://127.0.0.1:5000"
TOKEN = "run.token"  # the tag that says which run directory a run shows
LONGEST_TAG = 500  # characters of what a tag says of a failure; the log has all of it
ADDRESSES = {  # where MLflow's database keeps addresses of artifacts
    **{"experiments": "artifact_location", "runs": "artifact_uri", "logged_models": "artifact_location"},
    **{"model_versions": "storage_location"},
}
EXPERIMENT_TAGS = {  # what MLflow's pages read to open as classic machine learning, ranked by validation
    "mlflow.experimentKind": "custom_model_development",
    "mlflow.experiment.primaryMetric.name": "val_accuracy",
    "mlflow.experiment.primaryMetric.greaterIsBetter": "True",
}


def tracking_uri(root: Path) -> str:
    """MLFLOW_TRACKING_URI, or the database in `root`, named absolutely so that no working directory moves it."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root / 'mlflow.db'}"


def is_remote(root: Path) -> bool:
    return tracking_uri(root).startswith("http")


def server_name(root: Path) -> str:
    """The tracking server without what may be secret in its address."""
    return without_secrets(tracking_uri(root)).partition("?")[0]


def place(root: Path) -> str:
    """What tells one server from another: for the project's own database a word, since the project may be moved."""
    return "local" if tracking_uri(root) == f"sqlite:///{root / 'mlflow.db'}" else server_name(root)


class Server:
    """MLflow at the project's tracking URI. To make one connects, and raises whatever MLflow raises, as any use does:

    its own errors, SQLAlchemy's, requests' and the system's.
    """

    def __init__(self, root: Path):
        self.root, self.uri = root, tracking_uri(root)
        self.name = server_name(root)
        self.place = place(root)
        self.client = _connect(root, self.uri)

    @property
    def pages(self) -> str:
        """The address of its pages; for a database, as `make ui` serves it."""
        return self.name.rstrip("/") if is_remote(self.root) else LOCAL_UI

    def link(self, experiment_id: str, run_id: str) -> str:
        return f"{self.pages}/#/experiments/{experiment_id}/runs/{run_id}?workflowType=machine_learning"

    def experiment(self, name: str) -> str:
        """The experiment's id; made by one process at a time, since in MLflow the losers of that race log elsewhere.

        Its artifacts lie in mlruns/, so that they outlive every copy of the project. For a server, the server decides.
        """
        found = self.client.get_experiment_by_name(name)
        if found and found.lifecycle_stage == "active":
            return found.experiment_id
        with _first_use(self.root):
            found = self.client.get_experiment_by_name(name)
            if found is None:
                location = _location(self.root, name) if self.uri.startswith("sqlite:") else None
                return self.client.create_experiment(name, location, EXPERIMENT_TAGS)
            if found.lifecycle_stage == "deleted":
                self.client.restore_experiment(found.experiment_id)
            return found.experiment_id

    def is_deleted(self, experiment: str) -> bool:
        """Whether a user has deleted the experiment of that name, with all its runs."""
        found = self.client.get_experiment_by_name(experiment)
        return found is not None and found.lifecycle_stage == "deleted"

    def ping(self) -> None:
        """Raises what MLflow raises if it does not answer."""
        self.client.search_experiments(max_results=1)

    def find(self, experiment: str, token: str):
        """The run with this token in an experiment of that name, or None."""
        where = self.client.get_experiment_by_name(experiment)
        return next(iter(self.runs(where.experiment_id, token)), None) if where else None

    def runs(self, experiment_id: str, value: str, tag: str = TOKEN) -> list:
        """The runs with that value of a tag that is one run's alone, deleted ones last: none or one, but for faults."""
        from mlflow.entities import ViewType

        found = self.client.search_runs([experiment_id], f"tags.`{tag}` = '{value}'", ViewType.ALL)
        return sorted(found, key=lambda run: run.info.lifecycle_stage == "deleted")

    def end_left(self, experiment: str, token: str, status: str, ended: int | None, failure: str) -> None:
        """End the run with this token, if it is RUNNING: `ended` in milliseconds since 1970, `failure` the reason."""
        run = self.find(experiment, token)
        if run and run.info.status == "RUNNING" and run.info.lifecycle_stage != "deleted":
            if failure:
                self.client.set_tag(run.info.run_id, "failure", failure[:LONGEST_TAG])
            self.client.set_terminated(run.info.run_id, status, ended)

    def log(
        self,
        run_id: str,
        metrics: Iterable[tuple[str, float, int]] = (),
        params: dict[str, object] | None = None,
        tags: dict[str, object] | None = None,
    ) -> None:
        """Metrics, each with name, value and step; parameters; tags."""
        from mlflow.entities import Metric, Param, RunTag

        now = int(time.time() * 1000)
        points = [Metric(name, value, now, step) for name, value, step in metrics]
        for start in range(0, len(points), MOST_METRICS):
            self.client.log_batch(run_id, points[start : start + MOST_METRICS])
        named = [Param(key, str(value)) for key, value in (params or {}).items()]
        marked = [RunTag(key, str(value)) for key, value in (tags or {}).items()]
        if named or marked:
            self.client.log_batch(run_id, params=named, tags=marked)

    def log_dataset(self, run_id: str, name: str, md5: str, sha256: str, meta: dict) -> None:
        """The data with DVC's md5: MLflow's own digest sees the first 10,000 numbers only."""
        from mlflow.entities import Dataset, DatasetInput, InputTag
        from mlflow.exceptions import MlflowException

        made = Dataset(name, md5, "local", json.dumps({"uri": meta["prepare"]["source"]}), profile=json.dumps(meta))
        tags = {"mlflow.data.context": "training", "dvc.md5": md5, "sha256": sha256}
        inputs = DatasetInput(made, [InputTag(key, value) for key, value in tags.items()])
        try:
            self.client.log_inputs(run_id, datasets=[inputs])
        except MlflowException:  # another process has told of the same data between MLflow's look and its insertion
            self.client.log_inputs(run_id, datasets=[inputs])

    def log_model(self, run_id: str, path: Path, image_shape: list[int], classes: int) -> None:
        """Log the Keras file at `path` as the run's one `model`; what an earlier attempt has left is completed."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        experiment_id = self.client.get_run(run_id).info.experiment_id
        known = self._models(experiment_id, run_id)
        ready = next((model for model in known if str(model.status) == "READY"), None)
        for model in known:
            if model is not ready:
                self.client.delete_logged_model(model.model_id)
        if not (ready and _has(ready, "MLmodel")):
            ready = self._make_model(ready, experiment_id, run_id, path, image_shape, classes)
        # MLflow has saved it anew, with today's date in it; the run directory's file makes the two the same bytes.
        get_artifact_repository(ready.artifact_location).log_artifact(str(path), "data")

    def _make_model(self, known, experiment_id: str, run_id: str, path: Path, image_shape: list[int], classes: int):
        """The files of the model `known`, which are gone and to which a champion may point; or else a new model."""
        from epochwise.training.network import load_model  # isort: skip  # first, since it imports TensorFlow quietly

        import mlflow.keras
        import numpy as np
        from mlflow.models import Model, ModelSignature
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
        from mlflow.types import Schema, TensorSpec

        about = {
            "model": load_model(path),
            "signature": ModelSignature(
                Schema([TensorSpec(np.dtype("float32"), (-1, *image_shape), "image")]),
                Schema([TensorSpec(np.dtype("float32"), (-1, classes), "probabilities")]),
            ),
            # Told, since inferring them starts another TensorFlow.
            "pip_requirements": [f"{name}=={version(name)}" for name in ("tensorflow", "keras")],
        }
        if known:
            with tempfile.TemporaryDirectory() as scratch:
                saved, again = Path(scratch) / "model", Model(run_id=run_id, model_id=known.model_id)
                mlflow.keras.save_model(path=str(saved), mlflow_model=again, **about)
                get_artifact_repository(known.artifact_location).log_artifacts(str(saved))
            return known
        # Made here, since Model.log alone puts it into the active experiment, whichever that is.
        logged = mlflow.initialize_logged_model("model", source_run_id=run_id, experiment_id=experiment_id)
        ids = {"run_id": run_id, "model_id": logged.model_id}
        Model.log(artifact_path=None, name="model", flavor=mlflow.keras, **ids, **about)
        return logged

    def has_model(self, run_id: str) -> bool:
        """Whether the run has a model whose files are there: somebody may have emptied mlruns/."""
        known = self._models(self.client.get_run(run_id).info.experiment_id, run_id)
        return any(_has(model, "MLmodel") and _has(model, "data/model.keras") for model in known)

    def _models(self, experiment_id: str, run_id: str) -> list:
        return self.client.search_logged_models([experiment_id], f"source_run_id = '{run_id}'")


def _has(model, path: str) -> bool:
    """Whether a logged model has the artifact `path`."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    listed = get_artifact_repository(model.artifact_location).list_artifacts(path.rpartition("/")[0] or None)
    return path in {item.path for item in listed}


def fetch_run(root: Path, run_id: str, folder: Path) -> None:
    """Make `folder` the run directory of a run, from MLflow. Raises InputError if it has none or no model."""
    if not exists(root):
        raise InputError(f"{run_id}: no run with a model here or in MLflow, which has no database yet")
    folder.mkdir(parents=True, exist_ok=True)
    with refusing(f"{run_id}: no run with a model here or in MLflow"):
        client = Server(root).client
        for item in [*client.list_artifacts(run_id), *client.list_artifacts(run_id, "evaluation")]:
            if not item.is_dir:
                _download(client, run_id, item.path, folder)
        _download(client, run_id, "model/data/model.keras", folder)


def champion(root: Path, name: str) -> dict[str, str] | None:
    """The champion of the registered model `name`: its tags, `run_id` and `version`; None if there is none.

    Raises InputError if MLflow does not answer.
    """
    if not exists(root):
        return None
    with refusing(f"{name}: no answer from MLflow's registry"):
        client = Server(root).client
        from mlflow.exceptions import MlflowException

        try:
            version = client.get_model_version_by_alias(name, CHAMPION)
        except MlflowException as error:
            if error.error_code in NO_CHAMPION:
                return None
            raise
    return version.tags | {"run_id": version.run_id, "version": str(version.version)}


def register(root: Path, name: str, run_id: str, tags: dict[str, str]) -> str:
    """Make the run's model the newest version of the registered model `name`, and that the champion; its number.

    Raises InputError if MLflow has no such run, or no model of it.
    """
    with refusing(f"{run_id}: cannot be registered in MLflow"):
        client = Server(root).client
        import mlflow

        experiment_id = client.get_run(run_id).info.experiment_id
        (logged,) = client.search_logged_models([experiment_id], f"source_run_id = '{run_id}'", max_results=1)
        version = mlflow.register_model(f"models:/{logged.model_id}", name, tags=tags).version
        client.set_registered_model_alias(name, CHAMPION, version)
    return str(version)


@contextlib.contextmanager
def refusing(what: str) -> Iterator[None]:
    """Turn whatever MLflow raises (see Server) into InputError: here the server is what was asked for."""
    try:
        yield
    except Exception as error:
        raise InputError(f"{what} ({reason(error)})") from error


def _download(client, run_id: str, path: str, folder: Path) -> None:
    """One artifact, whatever folder it is in there, into `folder` itself."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        Path(client.download_artifacts(run_id, path, scratch)).replace(folder / Path(path).name)


def exists(root: Path) -> bool:
    """Whether there is a local database, if it is a local one that is used; of a server, nothing is known."""
    database = _database(tracking_uri(root))
    return database is None or database.is_file()


def _database(uri: str) -> Path | None:
    """The file of an SQLite database, whose address may end in a query."""
    return Path(uri.removeprefix("sqlite:///").partition("?")[0]) if uri.startswith("sqlite:///") else None


def preload() -> None:
    """Import what a run needs, ahead of the first one: seconds that a process may as well spend while it waits."""
    _set_environment()
    import epochwise.training.backend  # noqa: F401, I001  # TensorFlow, quietly, before MLflow imports it
    import mlflow.keras  # noqa: F401


def _connect(root: Path, uri: str):
    _set_environment()
    import mlflow

    for name in ("alembic", "mlflow.store.db.utils", "urllib3.connectionpool"):  # retries are told once, by us
        logging.getLogger(name).setLevel(logging.ERROR)
    told = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    if told is None:  # it is set there by MLflow, and would stand for the user's wish from now on
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    with _first_use(root):  # the first client makes the tables, which MLflow does without a lock
        if database := _database(uri):
            _make_database(database)
        if uri == f"sqlite:///{root / 'mlflow.db'}":
            _relocate(root)
        return mlflow.MlflowClient(uri)


def _set_environment() -> None:
    """Before the import: telemetry starts with it, and the default retries hold up one call for four minutes."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # it prints the address with the password in it


def _make_database(path: Path) -> None:
    """Make MLflow's tables, if there is no file yet, all or none: from a half-made file MLflow does not recover."""
    if path.exists():
        return
    import mlflow

    for torn in path.parent.glob(f".*.{path.name}*"):  # of a process that was killed in here
        torn.unlink()
    with replacing(path) as temporary:
        mlflow.MlflowClient(f"sqlite:///{temporary}").search_experiments(max_results=1)
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode=WAL")  # readers and writers no longer wait for each other


def _relocate(root: Path) -> None:
    """Mend artifact addresses that lie in another mlruns/: MLflow keeps them absolute, and the project was moved."""
    with contextlib.closing(sqlite3.connect(root / "mlflow.db")) as database, database:
        query = "SELECT name, artifact_location FROM experiments WHERE artifact_location LIKE 'file:%'"
        for name, before in database.execute(query).fetchall():
            now = _location(root, name)
            if before == now or not before.endswith(f"/mlruns/{quote(name)}"):
                continue
            for table, column in ADDRESSES.items():
                database.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) IN (?, ?)",  # noqa: S608
                    (now, len(before) + 1, len(before) + 1, before, f"{before}/"),
                )


def _location(root: Path, experiment: str) -> str:
    return (root / "mlruns" / experiment).as_uri()


def warn(error: Exception, outcome: str) -> None:
    why = textwrap.shorten(reason(error), 300, placeholder=" …")
    print(f"warning: MLflow ({type(error).__name__}: {why}); {outcome}", file=sys.stderr)


def reason(error: BaseException) -> str:
    """In one line; of a request that failed, its server and the innermost cause, where requests tells every layer."""
    chain = [error]
    while (deeper := _behind(chain[-1])) and deeper not in chain:
        chain.append(deeper)
    sent = next((link.request for link in chain if getattr(link, "request", None) is not None), None)
    server = "{0.scheme}://{0.netloc}: ".format(urlsplit(sent.url)) if sent else ""
    return without_secrets(" ".join(f"{server}{chain[-1] if sent else error}".split())) or type(error).__name__


def _behind(error: BaseException) -> BaseException | None:
    return error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def without_secrets(text: str) -> str:
    """`text` with user, password and query taken out of each address in it, and wherever those of MLflow's stand."""
    known = [os.environ.get(f"MLFLOW_TRACKING_{name}") for name in ("PASSWORD", "TOKEN")]
    with contextlib.suppress(ValueError):  # not an address; MLflow will say so
        told = urlsplit(os.environ.get("MLFLOW_TRACKING_URI", ""))
        known += [told.query, told.password]
    for secret in filter(None, known):
        text = text.replace(secret, "…").replace(unquote(secret), "…")
    return re.sub(r"(://[^\s'\"?]*)\?[^\s'\")]*", r"\1", re.sub(r"//\S*@", "//", text))


def _first_use(root: Path) -> FileLock:
    (root / "mlruns").mkdir(exist_ok=True)
    return FileLock(root / "mlruns" / ".lock")
