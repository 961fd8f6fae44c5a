"""A run's model in MLflow: a logged model that can be served, registered, and loaded as `runs:/RUN_ID/model`.

MLflow and TensorFlow are imported inside functions, for their cost (see `tracking/__init__.py`).
"""

import platform
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from epochwise.common.files import write_text
from epochwise.tracking.server import Server, preload

LoggedModel = Any  # mlflow.entities.LoggedModel, which cannot be named without importing MLflow
ArtifactRepository = Any  # mlflow.store.artifact.artifact_repo.ArtifactRepository

NAME = "model"
SERVED = "served"  # the name of the model that is registered: it takes raw pixels
DATA = "data"  # the folder of the Keras file among the artifacts of the logged model
MODEL_FILE = f"{DATA}/model.keras"  # to the byte the run directory's file
DESCRIPTION, CONDA, PYTHON = "MLmodel", "conda.yaml", "python_env.yaml"  # by which MLflow loads it, and what it needs
AT_ONCE = 4  # files that are logged at the same time
REQUIREMENTS = ("mlflow", "tensorflow", "keras")


def log_model(
    server: Server,
    experiment_id: str,
    run_id: str,
    path: Path,
    image_shape: list[int],
    classes: int,
    is_first: bool,
) -> str:
    """Log the Keras file at `path` as the one model of a run, or complete what an earlier attempt has logged.

    `is_first` says that there was no earlier attempt, so that MLflow need not be asked. Returns MLflow's id of the
    model. Raises whatever MLflow raises.
    """
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    found = [] if is_first else _models_of(server, experiment_id, run_id)
    ready = next((model for model in found if str(model.status) == "READY"), None)
    for unfinished in found:
        if unfinished is not ready:
            server.client.delete_logged_model(unfinished.model_id)
    # A model that is ready stays, and gets its files again: a champion may point to it.
    model = ready or _initialize(experiment_id, run_id, NAME)
    if not ready:
        server.client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    with tempfile.TemporaryDirectory() as scratch:
        described = _describe(Path(scratch), model, run_id, path, image_shape, classes)
        files = [(path, DATA), *((file, "") for file in described)]
        upload(files, server.artifacts(model.artifact_location))
    if not ready:
        server.client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    return str(model.model_id)


def log_served_model(server: Server, run_id: str, path: Path, image_shape: list[int], classes: int) -> str:
    """Log the Keras file at `path` once more, as a model for `mlflow models serve` that takes raw pixels 0…255.

    Returns MLflow's id of the logged model. Raises whatever MLflow raises.
    """
    experiment_id = server.client.get_run(run_id).info.experiment_id
    for model in _models_of(server, experiment_id, run_id, SERVED):
        if str(model.status) == "READY" and _has_files(server, model):
            return str(model.model_id)
    preload()
    import mlflow.keras
    from mlflow.models import Model

    from epochwise.training.backend import keras
    from epochwise.training.model_file import load_model

    trained = load_model(path)
    scale = keras.layers.Rescaling(1 / 255, name="pixels")
    served = keras.Sequential([keras.Input(image_shape, name="image"), scale, trained])
    logged = _initialize(experiment_id, run_id, SERVED)
    content = {"model": served, "signature": _signature(image_shape, classes), "pip_requirements": _requirements()}
    Model.log(None, mlflow.keras, name=SERVED, run_id=run_id, model_id=logged.model_id, **content)
    return str(logged.model_id)


def has_model(server: Server, experiment_id: str, run_id: str) -> bool:
    """Whether MLflow has the run's model and its files: a user may have emptied mlruns/."""
    return any(_has_files(server, model) for model in _models_of(server, experiment_id, run_id))


def upload(files: Sequence[tuple[Path, str]], repository: ArtifactRepository) -> None:
    """Log files, each with its folder among the artifacts, several at once: a server with passwords answers slowly.

    Raises the first error.
    """
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda file: repository.log_artifact(str(file[0]), file[1] or None), files))


def _describe(
    folder: Path, model: LoggedModel, run_id: str, path: Path, image_shape: list[int], classes: int
) -> list[Path]:
    """Write the files beside the Keras file from which MLflow knows how to load it, and what that needs.

    They are what `mlflow.keras.save_model` writes, but that would load the network and save it again, with today's date
    in the file; and it writes the requirements three times, in files that refer to each other, each of them a request.
    """
    from mlflow.models import Model

    python, packages = platform.python_version(), _requirements()
    dependencies = [f"python={python}", "pip", {"pip": packages}]
    conda = {"name": "mlflow-env", "channels": ["conda-forge"], "dependencies": dependencies}
    write_text(folder / CONDA, OmegaConf.to_yaml(conda))
    environment = {"python": python, "build_dependencies": ["pip"], "dependencies": packages}
    write_text(folder / PYTHON, OmegaConf.to_yaml(environment))
    ids: dict[str, Any] = {"model_uuid": model.model_id, "run_id": run_id, "model_id": model.model_id}
    described = Model(
        artifact_path=model.artifact_location,
        signature=_signature(image_shape, classes),
        model_size_bytes=path.stat().st_size,
        **ids,
    )
    keras = {"keras_version": version("keras"), "keras_backend": "tensorflow", "save_exported_model": False}
    described.add_flavor("keras", data=DATA, **keras)
    environments = {"conda": CONDA, "virtualenv": PYTHON}
    described.add_flavor("python_function", loader_module="mlflow.keras", python_version=python, env=environments)
    described.save(str(folder / DESCRIPTION))
    return [folder / name for name in (CONDA, PYTHON, DESCRIPTION)]


def _signature(image_shape: list[int], classes: int) -> Any:
    """The shapes that go in and come out."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    return ModelSignature(
        Schema([TensorSpec(np.dtype("float32"), (-1, *image_shape), "image")]),
        Schema([TensorSpec(np.dtype("float32"), (-1, classes), "probabilities")]),
    )


def _requirements() -> list[str]:
    """What a model needs to be loaded. MLflow would start another process with TensorFlow to infer it."""
    return [f"{name}=={version(name)}" for name in REQUIREMENTS]


def _initialize(experiment_id: str, run_id: str, name: str) -> LoggedModel:
    """A new logged model, which is not ready yet. MLflow alone would put it into the active experiment."""
    import mlflow

    return mlflow.initialize_logged_model(name, source_run_id=run_id, experiment_id=experiment_id)


def _models_of(server: Server, experiment_id: str, run_id: str, name: str = NAME) -> list[LoggedModel]:
    found = server.client.search_logged_models([experiment_id], f"source_run_id = '{run_id}'")
    return [model for model in found if model.name == name]


def _has_files(server: Server, model: LoggedModel) -> bool:
    repository = server.artifacts(model.artifact_location)
    listed = {item.path for folder in (None, DATA) for item in repository.list_artifacts(folder)}
    return listed >= {DESCRIPTION, CONDA, PYTHON, MODEL_FILE}
