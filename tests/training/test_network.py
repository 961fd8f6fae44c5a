"""The write-up's network: its layers, its number of weights, and what decides the first ones."""

import numpy as np
import pytest

from epochwise.config.compose import load
from epochwise.training.backend import keras
from epochwise.training.model_file import weights_sha256
from epochwise.training.network import build_model


@pytest.fixture
def cfg(project, tensors):
    return load(["experiment=writeup"])


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
