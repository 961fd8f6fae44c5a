"""The tracking server: what is asked of MLflow there about experiments and runs. Its address is in `address.py`.

MLflow is imported inside functions, for its cost (see `tracking/__init__.py`).
"""

import json
import logging
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from epochwise.runs.record import RUNNING, now
from epochwise.tracking.address import (
    DATABASES,
    VARIABLE,
    check_address,
    database_file,
    is_local,
    is_remote,
    server_identity,
    server_name,
    tracking_uri,
)
from epochwise.tracking.database import (
    artifact_location,
    check_writable,
    make_database,
    relocate_artifacts,
    setup_lock,
    store_folder,
)

Metric = tuple[str, float, int]  # its name, its value and its step: an epoch, or 0 for what the whole run has
Run = Any  # mlflow.entities.Run, which cannot be named without importing MLflow

LOCAL_PORT = 5000
LOCAL_PAGES = f"http://127.0.0.1:{LOCAL_PORT}"  # where `epochwise ui` shows the project's own database
DESCRIPTION_TAG = "mlflow.note.content"  # Markdown that MLflow shows on the page of a run or an experiment
SUMMARY_SUFFIX = "-sweeps"
TOKEN_TAG = "run.token"  # its value names the run directory that an MLflow run mirrors
MAX_METRICS = 1000  # that MLflow's log_batch takes in one call
LONGEST_FAILURE = 500  # characters of the tag `failure`; run.json has all of it
EXPERIMENT_TAGS = {  # from these, MLflow's pages open an experiment as machine learning, ranked by validation
    "mlflow.experimentKind": "custom_model_development",
    "mlflow.experiment.primaryMetric.name": "val_accuracy",
    "mlflow.experiment.primaryMetric.greaterIsBetter": "True",
}
DEFAULT_ENVIRONMENT = {  # of MLflow, set before it is imported; a user's own values stay
    "MLFLOW_DISABLE_TELEMETRY": "true",  # telemetry starts with the import
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # with MLflow's own default, one call without an answer takes four minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",  # seconds
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
NOISY_LOGGERS = (  # one warning of ours says it all; of these two say that a folder or a user is none of MLflow's
    *("alembic", "mlflow.store.db.utils", "urllib3.connectionpool"),
    *("mlflow.store.tracking.file_store", "mlflow.tracking.context.registry"),
)


def preload() -> None:
    """Import TensorFlow and MLflow, which takes seconds, ahead of the first run."""
    _set_environment()
    import epochwise.training.backend  # noqa: F401  # TensorFlow silently, before MLflow imports it

    # isort: split
    import mlflow.models  # noqa: F401


def summary_experiment(name: str) -> str:
    """The experiment of a sweep's summary run: a summary must not stand among the runs that it sums up."""
    return f"{name}{SUMMARY_SUFFIX}"


class Server:
    """A connection to MLflow at the project's tracking address.

    To create one, and to call any of its methods, raises whatever MLflow raises: its own errors, SQLAlchemy's,
    requests' and the system's. So who must not fail with MLflow catches Exception.
    """

    def __init__(self, root: Path) -> None:
        """`root` is the main checkout. Raises InputError if the tracking address is none."""
        check_address()
        self.root, self.uri = root, tracking_uri(root)
        self.name, self.identity = server_name(root), server_identity(root)
        self.client = _connect(root, self.uri)  # an mlflow.MlflowClient

    @property
    def pages(self) -> str:
        """The address of MLflow's web pages."""
        return self.name.rstrip("/") if is_remote(self.root) else LOCAL_PAGES

    def link(self, experiment_id: str, run_id: str) -> str:
        """The address of a run's page."""
        return f"{self.pages}/#/experiments/{experiment_id}/runs/{run_id}?workflowType=machine_learning"

    def ping(self) -> None:
        """Do nothing, but raise whatever MLflow raises if it does not answer."""
        self.client.search_experiments(max_results=1)

    def experiment(self, name: str) -> str:
        """The id of the experiment with this name, which is created, or restored if a user has deleted it.

        Where artifacts are stored, the project decides for a database, and the server for any other store.
        """
        found = self.client.get_experiment_by_name(name)
        if found and found.lifecycle_stage == "active":
            return str(found.experiment_id)
        from mlflow.exceptions import MlflowException

        with setup_lock(self.root):
            try:
                return self._make_active(name)
            except MlflowException:  # of two projects that create or restore one at once, the second is refused
                found = self.client.get_experiment_by_name(name)
                if found is None or found.lifecycle_stage == "deleted":
                    raise
                return str(found.experiment_id)

    def _make_active(self, name: str) -> str:
        found = self.client.get_experiment_by_name(name)
        if found is None:
            is_database = self.uri.startswith(("sqlite:", *DATABASES))
            location = artifact_location(store_folder(self.root), name) if is_database else None
            return self._create_experiment(name, location)
        if found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def _create_experiment(self, name: str, location: str | None) -> str:
        """Create an experiment that says what is in it, with links that work wherever the pages are served."""
        experiment_id = str(self.client.create_experiment(name, location, EXPERIMENT_TAGS))
        runs = f"[table of runs](#/experiments/{experiment_id}/runs?workflowType=machine_learning)"
        about = (
            f"One run for each training: {runs}, best validation accuracy by `val_accuracy`. "
            f"The sweeps among them are summed up in the experiment `{summary_experiment(name)}`."
        )
        if name.endswith(SUMMARY_SUFFIX):
            about = f"One run for each sweep, with its leaderboard, pictures and `report.html`: {runs}."
        self.client.set_experiment_tag(experiment_id, DESCRIPTION_TAG, about)
        return experiment_id

    def artifacts(self, location: str) -> Any:
        """MLflow's access to the artifacts at an address that it has given, of a run or of a logged model."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        return get_artifact_repository(location, tracking_uri=self.uri)

    def is_deleted(self, experiment: str) -> bool:
        """Whether a user has deleted the experiment with this name, and with it all its runs."""
        found = self.client.get_experiment_by_name(experiment)
        return found is not None and found.lifecycle_stage == "deleted"

    def find_run(self, experiment: str, token: str) -> Run | None:
        """The run with this token in the experiment with this name, or None."""
        found = self.client.get_experiment_by_name(experiment)
        return next(iter(self.runs(found.experiment_id, token)), None) if found else None

    def runs(self, experiment_id: str, value: str, tag: str = TOKEN_TAG) -> list[Run]:
        """The runs of which `tag` has this value, deleted ones last.

        The tag is meant to be one run's alone, but a request that MLflow answered too late may have made another one.
        """
        from mlflow.entities import ViewType

        found = self.client.search_runs([experiment_id], f"tags.`{tag}` = '{value}'", ViewType.ALL)
        return sorted(found, key=lambda run: run.info.lifecycle_stage == "deleted")

    def log(
        self,
        run_id: str,
        metrics: Iterable[Metric] = (),
        params: Mapping[str, object] | None = None,
        tags: Mapping[str, object] | None = None,
        model_id: str | None = None,
    ) -> None:
        """Log metrics, parameters and tags. The model gets the metrics of step 0, too."""
        from mlflow.entities import Metric as Point
        from mlflow.entities import Param, RunTag

        when = now()
        points = [
            Point(name, value, when, step, model_id=None if step else model_id, run_id=run_id)
            for name, value, step in metrics
        ]
        run_params = [Param(key, str(value)) for key, value in (params or {}).items()]
        run_tags = [RunTag(key, str(value)) for key, value in (tags or {}).items()]
        first = min(len(points), MAX_METRICS - len(run_params) - len(run_tags))  # all in one request, as a rule
        if points[:first] or run_params or run_tags:
            self.client.log_batch(run_id, points[:first], run_params, run_tags)
        for start in range(first, len(points), MAX_METRICS):
            self.client.log_batch(run_id, points[start : start + MAX_METRICS])

    def log_dataset(self, run_id: str, name: str, md5: str, sha256: str, meta: dict[str, Any]) -> None:
        """Log the prepared data with DVC's md5 as digest: MLflow's own digest covers only the first 10,000 numbers."""
        from mlflow.entities import Dataset, DatasetInput, InputTag
        from mlflow.exceptions import MlflowException

        dataset = Dataset(name, md5, "local", json.dumps({"uri": meta["prepare"]["source"]}), profile=json.dumps(meta))
        tags = {"mlflow.data.context": "training", "dvc.md5": md5, "sha256": sha256}
        inputs = [DatasetInput(dataset, [InputTag(key, value) for key, value in tags.items()])]
        try:
            self.client.log_inputs(run_id, datasets=inputs)
        except MlflowException:  # MLflow saw no such data, then another process inserted it, then MLflow tried to
            self.client.log_inputs(run_id, datasets=inputs)

    def end_run(self, experiment: str, token: str, status: str, ended: int | None, failure: str) -> None:
        """End the run with this token if it is RUNNING. `ended` is in milliseconds since 1970."""
        run = self.find_run(experiment, token)
        if run and run.info.status == RUNNING and run.info.lifecycle_stage != "deleted":
            if failure:
                self.client.set_tag(run.info.run_id, "failure", failure[:LONGEST_FAILURE])
            self.client.set_terminated(run.info.run_id, status, ended)


def _connect(root: Path, uri: str) -> Any:
    _set_environment()
    import mlflow

    for name in NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    users_uri = os.environ.get(VARIABLE)
    mlflow.set_tracking_uri(uri)
    if not users_uri:  # MLflow has set it now, and from now on it would pass for the user's wish
        os.environ.pop(VARIABLE, None)
    database = database_file(uri)
    if database:
        check_writable(database)
    with setup_lock(root):  # the first client of a database makes its tables
        if database:
            make_database(database)
        if is_local(root):
            relocate_artifacts(root)
        return mlflow.MlflowClient(uri)


def _set_environment() -> None:
    try:
        Path.home()
    except RuntimeError:  # a container may run under a user number that has no name, and MLflow asks for its home
        os.environ["HOME"] = tempfile.gettempdir()
    for name, value in DEFAULT_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # MLflow prints the address with its password
