"""The logged model of a run is the run directory's model, to the bit."""

import platform
from importlib.metadata import version
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow.utils.virtualenv import _get_python_env
from mlflow_runs import all_runs, provide_database, run_directory, train

from epochwise.tracking.address import tracking_uri
from epochwise.tracking.download import fetch_run
from epochwise.tracking.models import REQUIREMENTS

pytestmark = pytest.mark.usefixtures("plain_pictures")


def test_a_logged_model_predicts_as_the_saved_one(project):
    from epochwise.training.model_file import load_model, weights_sha256

    mlflow_client, run = provide_database(project), run_directory(project)
    train(run, "train.epochs=1")
    (logged,) = all_runs(mlflow_client)
    mlflow.set_tracking_uri(tracking_uri(project.path))
    model = mlflow.keras.load_model(f"runs:/{logged.info.run_id}/model")
    assert weights_sha256(model) == run.read_record().weights_sha256
    served = mlflow.pyfunc.load_model(f"runs:/{logged.info.run_id}/model")
    images = np.random.default_rng(0).random((3, 8, 8, 1), np.float32)
    expected = load_model(run.model).predict(images, verbose=0)
    np.testing.assert_array_equal(served.predict(images), expected)
    fetch_run(project.path, logged.info.run_id, project.path / "fetched")
    assert weights_sha256(load_model(project.path / "fetched/model.keras")) == logged.data.tags["weights_sha256"]
    assert (project.path / "fetched/config.yaml").read_bytes() == run.config.read_bytes()


def test_a_model_says_once_and_in_every_way_what_it_needs(project):
    """MLflow makes an environment of `conda.yaml` or of `python_env.yaml`, and neither refers to another file."""
    mlflow_client, run = provide_database(project), run_directory(project)
    train(run, "train.epochs=1")
    (logged,) = all_runs(mlflow_client)
    mlflow.set_tracking_uri(tracking_uri(project.path))
    model, packages = f"runs:/{logged.info.run_id}/model", [f"{name}=={version(name)}" for name in REQUIREMENTS]
    folder = Path(mlflow.artifacts.download_artifacts(model))
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files - {"registered_model_meta"} == {"MLmodel", "conda.yaml", "python_env.yaml", "data/model.keras"}, (
        "MLflow adds it"
    )
    assert Path(mlflow.pyfunc.get_model_dependencies(model)).read_text().split() == packages
    environment = _get_python_env(folder)
    assert (environment.python, environment.dependencies) == (platform.python_version(), packages)
    (folder / "python_env.yaml").unlink()
    assert _get_python_env(folder).dependencies == packages, "of conda.yaml"
