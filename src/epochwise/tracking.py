"""MLflow, imported here only. A run directory is the truth; a run here is a view of it, written live.

Every write is best effort: the first that fails gives one warning and ends tracking for the run, never the training.
"""

import contextlib
import functools
import getpass
import json
import logging
import os
import re
import sqlite3
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock
from omegaconf import DictConfig

from epochwise import InputError
from epochwise.config import parameters
from epochwise.data import Prepared
from epochwise.files import digest, replacing
from epochwise.lineage import Lineage

MOST_METRICS = 1000  # in one call of MLflow's log_batch
CHAMPION = "champion"  # the alias in the registry
LOCAL_UI = "http://127.0.0.1:5000"
COMPARED = (  # the few parameters that are always shown, beside those that a run varies; all are in config.yaml
    "seed",
    "prepare.source",
    "model.conv_dropout",
    "model.dense_dropout",
    "train.epochs",
    "train.batch_size",
    "train.learning_rate",
    "train.precision",
)
EXPERIMENT_TAGS = {  # what MLflow's pages read to open as classic machine learning, ranked by validation
    "mlflow.experimentKind": "custom_model_development",
    "mlflow.experiment.primaryMetric.name": "val_accuracy",
    "mlflow.experiment.primaryMetric.greaterIsBetter": "True",
}


def tracking_uri(root: Path) -> str:
    """MLFLOW_TRACKING_URI, or the database in `root`, named absolutely so that no working directory moves it."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root / 'mlflow.db'}"


def _best_effort(method: Callable) -> Callable:
    @functools.wraps(method)
    def attempt(self, *arguments, **keywords):
        if self.client is None or self.failed:
            return None
        try:
            return method(self, *arguments, **keywords)
        except Exception as error:  # MLflow raises its own, SQLAlchemy's, requests' and the system's errors
            self.give_up(error)

    return attempt


class Run:
    """One MLflow run. Without tracking, or once it has failed, `published` is False and every method does nothing."""

    def __init__(self, root: Path, run_id: str | None = None):
        self.root = root
        self.id = run_id
        self.experiment_id: str | None = None
        self.uri = tracking_uri(root)
        self.client = None
        self.failed = False

    def start(self, cfg: DictConfig, name: str, lineage: Lineage, prepared: Prepared, token: str) -> None:
        """Open a new run with its parameters, tags and data set; by `token` it is found if this process is killed."""
        if cfg.tracking.enabled:
            self._connect()
            self._create(cfg, name, lineage, prepared, token)

    @classmethod
    def resume(cls, root: Path, cfg: DictConfig, run_id: str) -> "Run":
        """Write to a run that has ended, without opening it again: status and duration stay as they are."""
        run = cls(root, run_id)
        if cfg.tracking.enabled:
            run._connect()
            run._look_up()
        return run

    @classmethod
    def connected(cls, root: Path, cfg: DictConfig) -> "Run":
        """The tracking server, without a run."""
        run = cls(root)
        if cfg.tracking.enabled:
            run._connect()
        return run

    @property
    def published(self) -> str | bool:
        """The tracking server that knows the whole run so far, without its password; or False."""
        return self.server if self.client is not None and not self.failed else False

    @property
    def server(self) -> str:
        """The tracking server, without its password."""
        return _without_password(self.uri)

    @property
    def link(self) -> str:
        """The run's page; for the local database, as `make ui` serves it."""
        server = self.server.rstrip("/") if self.uri.startswith("http") else LOCAL_UI
        return f"{server}/#/experiments/{self.experiment_id}/runs/{self.id}?workflowType=machine_learning"

    def give_up(self, error: Exception) -> None:
        self.failed = True
        warn(error, "going on without it, results are on disk")

    def _connect(self) -> None:
        try:
            self.client = connect(self.root, self.uri)
        except Exception as error:  # see _best_effort
            self.give_up(error)

    @_best_effort
    def _create(self, cfg: DictConfig, name: str, lineage: Lineage, prepared: Prepared, token: str) -> None:
        from mlflow.entities import Param

        self.experiment_id = ensure_experiment(self.client, self.root, cfg.tracking.experiment)
        tags = lineage.tags() | {
            "run.token": token,
            "mlflow.user": _user(),
            "mlflow.source.name": "epochwise",
            "mlflow.source.type": "LOCAL",
            "data.sha256": prepared.sha256,
            "validation": "test set" if prepared.validates_on_test else "split off the training set",
        }
        self.id = self.client.create_run(self.experiment_id, run_name=name, tags=tags).info.run_id
        varied = {override.lstrip("+").partition("=")[0] for override in lineage.overrides}
        shown = {key: value for key, value in parameters(cfg).items() if key in COMPARED or key in varied}
        self.client.log_batch(self.id, params=[Param(key, str(value)) for key, value in shown.items()])
        self.client.log_inputs(self.id, datasets=[_dataset(prepared, cfg.prepare.source)])
        if lineage.git_dirty:
            self.client.log_text(self.id, lineage.git_diff, "git.diff")

    @_best_effort
    def _look_up(self) -> None:
        self.experiment_id = self.client.get_run(self.id).info.experiment_id

    def log_metrics(self, metrics: dict[str, float]) -> None:
        self.log_epochs([{"epoch": 0, **metrics}])

    @_best_effort
    def log_epochs(self, rows: list[dict[str, float]]) -> None:
        """Metrics of epochs, each at the step that its row names as `epoch`."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        # What is logged first, MLflow's comparison of runs opens with.
        rows = [{key: row[key] for key in sorted(row, key=lambda key: key != "val_accuracy")} for row in rows]
        points = [Metric(key, row[key], now, row["epoch"]) for row in rows for key in row if key != "epoch"]
        for start in range(0, len(points), MOST_METRICS):
            self.client.log_batch(self.id, points[start : start + MOST_METRICS])

    @_best_effort
    def log_tags(self, tags: dict[str, str]) -> None:
        from mlflow.entities import RunTag

        self.client.log_batch(self.id, tags=[RunTag(key, str(value)) for key, value in tags.items()])

    @_best_effort
    def log_files(self, files: list[Path], folder: str | None = None) -> None:
        for path in files:
            self.client.log_artifact(self.id, str(path), folder)

    @_best_effort
    def log_model(self, path: Path, image_shape: tuple[int, ...], classes: int) -> None:
        """Log the Keras file at `path` as `model`, with explicit requirements: inferring them starts TensorFlow."""
        import mlflow.keras
        import numpy as np
        from mlflow.models import Model, ModelSignature
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
        from mlflow.types import Schema, TensorSpec

        from epochwise.model import load_model

        signature = ModelSignature(
            Schema([TensorSpec(np.dtype("float32"), (-1, *image_shape), "image")]),
            Schema([TensorSpec(np.dtype("float32"), (-1, classes), "probabilities")]),
        )
        # Made here, since Model.log alone puts it into the active experiment, whichever that is.
        logged = mlflow.initialize_logged_model("model", source_run_id=self.id, experiment_id=self.experiment_id)
        Model.log(
            artifact_path=None,
            name="model",
            flavor=mlflow.keras,
            run_id=self.id,
            model_id=logged.model_id,
            model=load_model(path),
            signature=signature,
            pip_requirements=[f"{name}=={version(name)}" for name in ("tensorflow", "keras")],
        )
        # MLflow has saved it anew, with today's date in it; the run directory's file makes the two the same bytes.
        get_artifact_repository(logged.artifact_location).log_artifact(str(path), "data")

    def left_running(self, token: str, experiment: str) -> list[str] | None:
        """The runs, none or one, that a process opened with `token` and that are still RUNNING; None if not known."""
        try:
            where = self.client.get_experiment_by_name(experiment)
            known = self.client.search_runs([where.experiment_id], f"tags.`run.token` = '{token}'") if where else []
        except Exception as error:  # see _best_effort; another run's trouble does not end this one's tracking
            warn(error, "an earlier run that was killed is still RUNNING there")
            return None
        return [run.info.run_id for run in known if run.info.status == "RUNNING"]

    def end_left(self, run_ids: list[str], status: str, last: float | None) -> bool:
        """End runs whose process is gone, at its `last` sign in seconds since 1970; whether that has worked."""
        try:
            for run_id in run_ids:
                if status != "FINISHED":
                    self.client.set_tag(run_id, "failure", "its process was killed")
                self.client.set_terminated(run_id, status, last and int(last * 1000))
        except Exception as error:  # see left_running
            warn(error, "an earlier run that was killed is still RUNNING there")
            return False
        return True

    def end(self, status: str, reason: str = "") -> None:
        """Close the run as FINISHED, FAILED or KILLED, with the reason for the latter two.

        Tried even when an earlier write failed, so that a run is not left RUNNING by a fault that has passed.
        """
        if self.client is None or self.experiment_id is None:
            return
        try:
            if reason:
                self.client.set_tag(self.id, "failure", reason[:500])
            self.client.set_terminated(self.id, status)
        except Exception as error:  # see _best_effort
            if not self.failed:
                self.give_up(error)


def ensure_experiment(client, root: Path, name: str) -> str:
    """The experiment's id; made by one process at a time, since in MLflow the losers of that race log elsewhere.

    Its artifacts lie in mlruns/, so that they outlive every copy of the project. For a server, the server decides.
    """
    local = client.tracking_uri.startswith("sqlite:")
    with _first_use(root):
        found = client.get_experiment_by_name(name)
        if found is None:
            location = (root / "mlruns" / name).as_uri() if local else None
            return client.create_experiment(name, location, EXPERIMENT_TAGS)
        if found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
        return found.experiment_id


def fetch_run(root: Path, run_id: str, folder: Path) -> None:
    """Make `folder` the run directory of a run, from MLflow. Raises InputError if it has none or no model."""
    folder.mkdir(parents=True, exist_ok=True)
    with _refusing(f"{run_id}: no run with a model here or in MLflow"):
        client = connect(root, tracking_uri(root))
        for item in [*client.list_artifacts(run_id), *client.list_artifacts(run_id, "evaluation")]:
            if not item.is_dir:
                _download(client, run_id, item.path, folder)
        _download(client, run_id, "model/data/model.keras", folder)


def champion(root: Path, name: str) -> dict[str, str] | None:
    """The champion of the registered model `name`: its tags, `run_id` and `version`; None if there is none.

    Raises InputError if MLflow does not answer.
    """
    with _refusing(f"{name}: no answer from MLflow's registry"):
        client = connect(root, tracking_uri(root))
        for model in client.search_registered_models(f"name = '{name}'"):
            if number := model.aliases.get(CHAMPION):
                version = client.get_model_version(name, number)
                return version.tags | {"run_id": version.run_id, "version": str(number)}
    return None


def register(root: Path, name: str, run_id: str, tags: dict[str, str]) -> str:
    """Make the run's model the newest version of the registered model `name`, and that the champion; its number.

    Raises InputError if MLflow has no such run, or no model of it.
    """
    with _refusing(f"{run_id}: cannot be registered in MLflow"):
        client = connect(root, tracking_uri(root))
        import mlflow

        experiment_id = client.get_run(run_id).info.experiment_id
        (logged,) = client.search_logged_models([experiment_id], f"source_run_id = '{run_id}'", max_results=1)
        version = mlflow.register_model(f"models:/{logged.model_id}", name, tags=tags).version
        client.set_registered_model_alias(name, CHAMPION, version)
    return str(version)


@contextlib.contextmanager
def _refusing(what: str) -> Iterator[None]:
    """Turn whatever MLflow raises (see _best_effort) into InputError: here the server is what was asked for."""
    try:
        yield
    except Exception as error:
        raise InputError(f"{what} ({_without_password(' '.join(str(error).split()))})") from error


def _download(client, run_id: str, path: str, folder: Path) -> None:
    """One artifact, whatever folder it is in there, into `folder` itself."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        Path(client.download_artifacts(run_id, path, scratch)).replace(folder / Path(path).name)


def exists(root: Path) -> bool:
    """Whether there is a local database, if it is a local one that is used; of a server, nothing is known."""
    uri = tracking_uri(root)
    return not uri.startswith("sqlite:///") or Path(uri.removeprefix("sqlite:///")).is_file()


def preload() -> None:
    """Import what a run needs, ahead of the first one: seconds that a process may as well spend while it waits."""
    _set_environment()
    import mlflow.keras  # noqa: F401


def connect(root: Path, uri: str):
    _set_environment()
    import mlflow

    for name in ("alembic", "mlflow.store.db.utils", "urllib3.connectionpool"):  # retries are told once, by us
        logging.getLogger(name).setLevel(logging.ERROR)
    mlflow.set_tracking_uri(uri)
    with _first_use(root):  # the first client makes the tables, which MLflow does without a lock
        if uri.startswith("sqlite:///"):
            _make_database(Path(uri.removeprefix("sqlite:///")))
        return mlflow.MlflowClient(uri)


def _set_environment() -> None:
    """Before the import: telemetry starts with it, and the default retries hold up one call for four minutes."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")


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


def warn(error: Exception, outcome: str) -> None:
    reason = textwrap.shorten(_without_password(str(error)), 300, placeholder=" …")
    print(f"warning: MLflow ({type(error).__name__}: {reason}); {outcome}", file=sys.stderr)


def _without_password(text: str) -> str:
    return re.sub(r"//\S*@", "//", text)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number that has no name
        return str(os.getuid())


def _first_use(root: Path) -> FileLock:
    (root / "mlruns").mkdir(exist_ok=True)
    return FileLock(root / "mlruns" / ".lock")


def _dataset(prepared: Prepared, source: str):
    """The data as an MLflow data set with DVC's md5: MLflow's own digest sees the first 10,000 numbers only."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    md5 = digest(prepared.archive, "md5")
    location = json.dumps({"uri": str(prepared.archive)})
    made = Dataset(Path(source).stem, md5, "local", location, profile=json.dumps(prepared.meta))
    tags = {"mlflow.data.context": "training", "dvc.md5": md5, "sha256": prepared.sha256}
    return DatasetInput(made, [InputTag(key, value) for key, value in tags.items()])
