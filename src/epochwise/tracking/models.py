"""A run's model in MLflow: a logged model that can be served, registered, and loaded as `runs:/RUN_ID/model`.

MLflow and TensorFlow are imported inside functions, for their cost (see `tracking/__init__.py`).
"""

import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

from epochwise.tracking.server import Metric, Server, preload

LoggedModel = Any  # mlflow.entities.LoggedModel, which cannot be named without importing MLflow

NAME = "model"
SERVED = "served"  # the name of the model that is registered: it takes raw pixels
MODEL_FILE = "data/model.keras"  # an artifact of the logged model, and the run directory's file to the byte
DESCRIPTION = "MLmodel"  # an artifact of the logged model, by which MLflow loads it
AT_ONCE = 4  # files that are logged at the same time
REQUIREMENTS = ("tensorflow", "keras")


def log_model(
    server: Server,
    experiment_id: str,
    run_id: str,
    path: Path,
    image_shape: list[int],
    classes: int,
    first: Sequence[Metric] | None = None,
) -> None:
    """Log the Keras file at `path` as the one model of a run, or complete what an earlier attempt has logged.

    If this is the first attempt, `first` are the metrics of step 0 that the run has in MLflow; the model gets them,
    too; then nothing is asked for. Raises whatever MLflow raises.
    """
    if first is not None:
        _log_first(server, experiment_id, run_id, path, image_shape, classes, first)
        return
    found = _models_of(server, experiment_id, run_id)
    ready = next((model for model in found if str(model.status) == "READY"), None)
    for model in found:
        if model is not ready:
            server.client.delete_logged_model(model.model_id)
    if not (ready and _has_artifact(ready, DESCRIPTION)):
        ready = _log_with_mlflow(ready, experiment_id, run_id, path, image_shape, classes)
    # MLflow has saved the model again, with today's date in the file. With this file both have the same bytes.
    _artifacts(ready).log_artifact(str(path), str(Path(MODEL_FILE).parent))


def log_served_model(server: Server, run_id: str, path: Path, image_shape: list[int], classes: int) -> str:
    """Log the Keras file at `path` once more, as a model for `mlflow models serve` that takes raw pixels 0…255.

    Returns MLflow's id of the logged model. Raises whatever MLflow raises.
    """
    experiment_id = server.client.get_run(run_id).info.experiment_id
    for model in _models_of(server, experiment_id, run_id, SERVED):
        if str(model.status) == "READY" and _has_artifact(model, DESCRIPTION):
            return str(model.model_id)
    preload()
    from epochwise.training.backend import keras
    from epochwise.training.model_file import load_model

    trained = load_model(path)
    scale = keras.layers.Rescaling(1 / 255, name="pixels")
    served = keras.Sequential([keras.Input(image_shape, name="image"), scale, trained])
    return str(_log_new(experiment_id, run_id, SERVED, _content(served, image_shape, classes)).model_id)


def has_model(server: Server, run_id: str) -> bool:
    """Whether MLflow has the run's model and its files: a user may have emptied mlruns/."""
    found = _models_of(server, server.client.get_run(run_id).info.experiment_id, run_id)
    return any(_has_artifact(model, DESCRIPTION) and _has_artifact(model, MODEL_FILE) for model in found)


def _log_with_mlflow(
    ready: LoggedModel | None, experiment_id: str, run_id: str, path: Path, image_shape: list[int], classes: int
) -> LoggedModel:
    """Restore the files of the model `ready`, to which a champion may point. Without one, log a new model."""
    preload()
    import mlflow.keras
    from mlflow.models import Model

    from epochwise.training.model_file import load_model

    content = _content(load_model(path), image_shape, classes)
    if ready:
        with tempfile.TemporaryDirectory() as scratch:
            saved = Path(scratch) / NAME
            description = Model(run_id=run_id, model_id=ready.model_id)
            mlflow.keras.save_model(path=str(saved), mlflow_model=description, **content)
            _artifacts(ready).log_artifacts(str(saved))
        return ready
    return _log_new(experiment_id, run_id, NAME, content)


def _log_first(
    server: Server,
    experiment_id: str,
    run_id: str,
    path: Path,
    image_shape: list[int],
    classes: int,
    metrics: Sequence[Metric],
) -> None:
    """Log a new model as MLflow's own `Model.log` does, which asks for the history of each metric: 20 requests more."""
    preload()
    import mlflow
    import mlflow.keras
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus
    from mlflow.models import Model

    from epochwise.training.model_file import load_model

    model = mlflow.initialize_logged_model(NAME, source_run_id=run_id, experiment_id=experiment_id)
    server.client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    server.log_metrics(run_id, metrics, model.model_id)
    with tempfile.TemporaryDirectory() as scratch:
        saved = Path(scratch) / NAME
        ids: dict[str, Any] = {"model_uuid": model.model_id, "run_id": run_id, "model_id": model.model_id}
        description = Model(artifact_path=model.artifact_location, **ids)
        mlflow.keras.save_model(
            path=str(saved), mlflow_model=description, **_content(load_model(path), image_shape, classes)
        )
        shutil.copyfile(path, saved / MODEL_FILE)  # MLflow has saved the model again, with today's date in the file
        artifacts = _artifacts(model)
        files = [file for file in sorted(saved.rglob("*")) if file.is_file() and "__pycache__" not in file.parts]
        folders = [file.parent.relative_to(saved).as_posix() for file in files]
        upload(
            [(file, "" if folder == "." else folder) for file, folder in zip(files, folders, strict=True)], artifacts
        )
    server.client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)


def upload(files: Sequence[tuple[Path, str]], log: Any) -> None:
    """Log files, each with its folder among the artifacts, several at once: a server with passwords answers slowly.

    `log` has a method `log_artifact`, which takes a path and a folder or None. Raises the first error.
    """
    if not files:
        return
    (first, folder), *others = files
    log.log_artifact(str(first), folder or None)  # alone, since the first one asks where the artifacts are
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda file: log.log_artifact(str(file[0]), file[1] or None), others))


def _content(model: Any, image_shape: list[int], classes: int) -> dict[str, Any]:
    """What MLflow saves: a Keras model, the shapes that go in and come out, and what it needs to be loaded."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    return {
        "model": model,
        "signature": ModelSignature(
            Schema([TensorSpec(np.dtype("float32"), (-1, *image_shape), "image")]),
            Schema([TensorSpec(np.dtype("float32"), (-1, classes), "probabilities")]),
        ),
        # Given here, because MLflow would start another process with TensorFlow to infer them.
        "pip_requirements": [f"{name}=={version(name)}" for name in REQUIREMENTS],
    }


def _log_new(experiment_id: str, run_id: str, name: str, content: dict[str, Any]) -> LoggedModel:
    import mlflow.keras
    from mlflow.models import Model

    # Initialized here, because Model.log alone would put it into the active experiment, whichever that is.
    logged = mlflow.initialize_logged_model(name, source_run_id=run_id, experiment_id=experiment_id)
    ids = {"run_id": run_id, "model_id": logged.model_id}
    Model.log(artifact_path=None, name=name, flavor=mlflow.keras, **ids, **content)
    return logged


def _models_of(server: Server, experiment_id: str, run_id: str, name: str = NAME) -> list[LoggedModel]:
    found = server.client.search_logged_models([experiment_id], f"source_run_id = '{run_id}'")
    return [model for model in found if model.name == name]


def _has_artifact(model: LoggedModel, path: str) -> bool:
    listed = _artifacts(model).list_artifacts(path.rpartition("/")[0] or None)
    return path in {item.path for item in listed}


def _artifacts(model: LoggedModel) -> Any:
    """MLflow's access to the artifacts of a logged model."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    return get_artifact_repository(model.artifact_location)
