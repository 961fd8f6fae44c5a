"""The write-up's network, and a model file that depends on its weights and on nothing else."""

import json
import time
import zipfile

import numpy as np
import pytest

from epochwise.common.errors import InputError
from epochwise.config import compose as config
from epochwise.training.backend import keras
from epochwise.training.network import build_model, load_model, save_model, weights_sha256


@pytest.fixture
def cfg(project, tensors):
    return config.load(["experiment=seed"])


def test_layers_and_parameters_are_the_write_ups(cfg):
    model = build_model(cfg.model, (28, 28, 1), 10, "float32", seed=0)
    assert model.count_params() == 1_199_882
    assert [(type(layer).__name__, *layer.output.shape[1:]) for layer in model.layers] == [
        ("Conv2D", 26, 26, 32),
        ("Conv2D", 24, 24, 64),
        ("MaxPooling2D", 12, 12, 64),
        ("Dropout", 12, 12, 64),
        ("Flatten", 9216),
        ("Dropout", 9216),
        ("Dense", 128),
        ("Dense", 10),
    ]
    activations = [layer.activation.__name__ for layer in model.layers if hasattr(layer, "activation")]
    assert activations == ["relu", "relu", "relu", "softmax"]
    assert [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)] == [0.25, 0.5]


def test_shape_and_classes_come_from_the_data(cfg):
    model = build_model(cfg.model, (9, 7, 3), 4, "float32", seed=0)
    probabilities = model.predict(np.ones((2, 9, 7, 3), np.float32), verbose=0)
    assert probabilities.shape == (2, 4)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)


def test_seed_decides_the_first_weights(cfg):
    first, again, other = (
        weights_sha256(build_model(cfg.model, (8, 8, 1), 10, "float32", seed=seed)) for seed in (0, 0, 1)
    )
    assert first == again != other


def test_mixed_precision_keeps_weights_and_probabilities_in_float32(cfg):
    model = build_model(cfg.model, (8, 8, 1), 10, "mixed_bfloat16", seed=0)
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert model.layers[0].compute_dtype == "bfloat16"
    assert model.layers[-1].output.dtype == "float32"


def test_model_file_depends_on_the_weights_alone(cfg, tmp_path):
    model = build_model(cfg.model, (8, 8, 1), 10, "float32", seed=0)
    save_model(model, tmp_path / "one.keras")
    time.sleep(2.1)  # a zip member's date counts in steps of two seconds
    again = build_model(cfg.model, (8, 8, 1), 10, "float32", seed=0)
    save_model(again, tmp_path / "two.keras")
    assert (tmp_path / "one.keras").read_bytes() == (tmp_path / "two.keras").read_bytes()
    assert weights_sha256(load_model(tmp_path / "one.keras")) == weights_sha256(model)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["one.keras", "two.keras"]


def crafted(path, layer: dict) -> None:
    """A sound `.keras` file whose first layer is another one."""
    save_model(build_model(config.load([]).model, (8, 8, 1), 10, "float32", 0), path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    about = json.loads(members["config.json"])
    about["config"]["layers"][1] = layer
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (members | {"config.json": json.dumps(about).encode()}).items():
            archive.writestr(name, content)


def lambda_layer() -> dict:
    layer = keras.layers.Lambda(lambda x: __import__("os").system("touch EXECUTED") or x, output_shape=(8, 8, 1))
    return keras.saving.serialize_keras_object(layer)


@pytest.mark.parametrize(
    "layer",
    [
        lambda_layer,
        lambda: {"module": "os", "class_name": "system", "config": {"command": "touch EXECUTED"}},
        lambda: {"module": "builtins", "class_name": "eval", "config": "open('EXECUTED', 'w')"},
        lambda: {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "EXECUTED"}},
        lambda: {
            "module": "keras.utils",
            "class_name": "get_file",
            "config": {"fname": "EXECUTED", "origin": "file:///etc/hostname"},
        },
    ],
)
def test_a_crafted_model_is_refused_and_executes_nothing(project, tensors, layer):
    crafted(project.path / "model.keras", layer())
    with pytest.raises(InputError, match="model.keras: not a readable Keras model"):
        load_model(project.path / "model.keras")
    assert not (project.path / "EXECUTED").exists()
