"""`epochwise export`: ONNX Runtime computes what Keras does."""

import numpy as np
import onnxruntime
import pytest
from mlflow_runs import run_directory, train, untracked_run

from epochwise.pipeline.datasets import prepared_for
from epochwise.training.model_file import load_model


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("mixed_bfloat16", 0.05)])
def test_onnx_gives_the_same_predictions(project, tensors, precision, tolerance):
    run = run_directory(project)
    if precision == "float32":
        run = untracked_run(project)
    else:
        train(run, f"train.precision={precision}", "tracking=off", replay=False)
    record = run.read_record()
    done = project.cli("export", record.run_id, "--out", "digits.onnx")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "model digits.onnx",
        "input image: float32 N×8×8×1 in 0…1 (pixels / 255); output: N×10 probabilities",
    ]
    images, _ = prepared_for(run.read_config()).arrays("test")
    session = onnxruntime.InferenceSession(project.path / "digits.onnx")
    (given,) = session.get_inputs()
    assert (given.name, given.type, given.shape[1:]) == ("image", "tensor(float)", [8, 8, 1])
    (probabilities,) = session.run(None, {"image": images})
    expected = load_model(run.model).predict(images, verbose=0)
    np.testing.assert_allclose(probabilities, expected, atol=tolerance)
    assert np.mean(probabilities.argmax(axis=1) == expected.argmax(axis=1)) >= 1 - tolerance
    assert session.get_modelmeta().custom_metadata_map["run_id"] == record.run_id


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nope"], "nope: no run with a model here or in MLflow"),
        (["--out", "model.h5"], "--out must be a .onnx in a folder that exists"),
        ([], "models/model.keras: not there; train first"),
    ],
)
def test_refused_in_one_line(project, arguments, says):
    done = project.cli("export", *arguments)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1) and says in done.stderr
    assert not list(project.path.glob("*.onnx"))
