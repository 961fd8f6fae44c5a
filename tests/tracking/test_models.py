"""The logged model of a run is the run directory's model, to the bit."""

import mlflow
import numpy as np
import pytest
from mlflow_runs import all_runs, provide_database, run_directory, train

from epochwise.tracking.address import tracking_uri
from epochwise.tracking.download import fetch_run

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
