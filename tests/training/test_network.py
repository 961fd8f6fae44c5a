"""The write-up's network: its layers, its number of weights, and what decides the first ones."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from epochwise.config.compose import load
from epochwise.config.limits import PRECISIONS
from epochwise.training import network
from epochwise.training.backend import keras, tf
from epochwise.training.model_file import weights_sha256
from epochwise.training.network import build_model, training_pass


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


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    ("shape", "kernel", "pool"),
    [((28, 28, 1), 3, 2), ((28, 28, 1), 5, 4), ((9, 7, 3), 3, 2), ((9, 7, 3), 3, 1), ((5, 5, 1), 3, 1)],
)
def test_training_computes_the_function_of_the_layers_one_by_one(cfg, precision, shape, kernel, pool):
    """Probabilities and gradients; without dropout, which is drawn otherwise."""
    cfg.model.conv_dropout = cfg.model.dense_dropout = 0
    cfg.model.kernel_size, cfg.model.pool_size = kernel, pool
    model = build_model(cfg.model, shape, 10, precision, seed=0)
    plain = keras.Sequential.from_config(model.get_config())
    draw = np.random.default_rng(0)
    plain.set_weights([weight + draw.normal(0, 0.05, weight.shape) for weight in model.get_weights()])  # no bias is 0
    model.set_weights(plain.get_weights())
    images = draw.random((16, *shape), np.float32)

    def forward_and_backward(call: Callable, weights: list) -> list[tf.Tensor]:
        @tf.function
        def graph() -> list[tf.Tensor]:
            with tf.GradientTape() as tape:
                probabilities = call(tf.constant(images))
                loss = tf.reduce_mean(tf.math.log(probabilities[:, 3]))
            return [probabilities, *tape.gradient(loss, weights)]

        return graph()

    tolerance = 1e-5 if precision == "float32" else 0.1  # bfloat16 has 8 bits, and rounds at other places
    ours = forward_and_backward(partial(training_pass, model), model.trainable_variables)
    expected = forward_and_backward(partial(plain, training=True), plain.trainable_variables)
    for one, other in zip(ours, expected, strict=True):
        assert np.linalg.norm(one - other) < tolerance * np.linalg.norm(other)


def test_a_step_drops_by_the_rates_of_both_layers(cfg, monkeypatch):
    seen = []
    monkeypatch.setattr(network, "dropout", lambda units, rates, seed: seen.append(rates) or units)
    for conv, dense in ((0.25, 0.5), (0, 0.5), (0.25, 0), (0, 0)):
        cfg.model.conv_dropout, cfg.model.dense_dropout = conv, dense
        training_pass(build_model(cfg.model, (8, 8, 1), 10, "float32", seed=0), tf.ones([2, 8, 8, 1]))
    assert seen == [[0.25, 0.5], [0.5], [0.25]]
