"""The fused optimizers are Keras's: the same variables, and the same weights but for rounding."""

import numpy as np
import pytest

from epochwise.config.compose import load
from epochwise.training.backend import keras, tf
from epochwise.training.optimizer import make_optimizer

VALUES = {"learning_rate": 0.01, "beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-5}


def trained(optimizer: keras.optimizers.Optimizer, steps: int) -> list[np.ndarray]:
    """What an optimizer makes of two weights and its own variables, by gradients that are the same for all."""
    draw = np.random.default_rng(0)
    weights = [keras.Variable(draw.normal(size=shape), dtype="float32") for shape in ((50, 20), (20,))]
    optimizer.build(weights)

    @tf.function
    def step(*gradients: tf.Tensor) -> None:
        optimizer.apply(gradients, weights)

    for _ in range(steps):
        step(*[tf.constant(draw.normal(size=weight.shape), tf.float32) for weight in weights])
    return [variable.numpy() for variable in (*weights, *optimizer.variables)]


ADAM = {"train.learning_rate": 0.01, "train.beta_1": 0.8, "train.beta_2": 0.99, "train.epsilon": 1e-5}
SGD = {"train.optimizer": "sgd", "train.learning_rate": 0.01}
PAIRS = {
    "adam": (ADAM, lambda: keras.optimizers.Adam(**VALUES)),
    "adamw": (
        {**ADAM, "train.optimizer": "adamw", "train.weight_decay": 0.02},
        lambda: keras.optimizers.AdamW(**VALUES, weight_decay=0.02),
    ),
    "adamw by default": ({"train.optimizer": "adamw"}, keras.optimizers.AdamW),
    "sgd": (SGD, lambda: keras.optimizers.SGD(0.01)),
    "momentum": ({**SGD, "train.momentum": 0.9}, lambda: keras.optimizers.SGD(0.01, 0.9)),
    "nesterov": (
        {**SGD, "train.momentum": 0.9, "train.nesterov": "true"},
        lambda: keras.optimizers.SGD(0.01, 0.9, nesterov=True),
    ),
    "decay": (
        {**SGD, "train.momentum": 0.9, "train.weight_decay": 0.02},
        lambda: keras.optimizers.SGD(0.01, 0.9, weight_decay=0.02),
    ),
}


@pytest.fixture(params=PAIRS)
def pair(request, project, tensors):
    """An optimizer of ours, as configured, and Keras's own."""
    values, keras_own = PAIRS[request.param]
    return make_optimizer(load([f"{key}={value}" for key, value in values.items()]).train), keras_own()


def test_it_is_keras_own_but_for_rounding(pair):
    ours, keras_own = pair
    for one, other in zip(trained(ours, 50), trained(keras_own, 50), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_its_variables_are_those_of_keras_own(pair):
    for optimizer in pair:
        optimizer.build([keras.Variable(np.zeros((3, 2), np.float32), name="kernel")])
    ours, keras_own = ([(v.name, v.shape, v.dtype) for v in optimizer.variables] for optimizer in pair)
    assert ours == keras_own
    assert pair[0].get_config() | {"name": ""} == pair[1].get_config() | {"name": ""}


def test_the_default_is_keras_adam_with_its_defaults(project, tensors):
    config = make_optimizer(load([]).train).get_config()
    assert config | {"name": ""} == keras.optimizers.Adam().get_config() | {"name": ""}


def test_a_sparse_gradient_is_taken_as_a_dense_one(pair):
    """As an embedding's is; the fused ops take dense ones only."""
    ours, keras_own = pair
    sparse = tf.IndexedSlices(tf.ones([1, 2]), tf.constant([1]), tf.constant([3, 2]))
    results = []
    for optimizer, gradient in ((ours, sparse), (keras_own, tf.convert_to_tensor(sparse))):
        weight = keras.Variable(np.ones((3, 2), np.float32))
        optimizer.build([weight])
        optimizer.apply([gradient], [weight])
        results.append(weight.numpy())
    np.testing.assert_allclose(*results, rtol=1e-5)
