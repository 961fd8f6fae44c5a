"""The fused Adam is Keras's Adam: the same variables, and the same weights but for rounding."""

import numpy as np

from epochwise.training.backend import keras, tf
from epochwise.training.optimizer import FusedAdam

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


def test_it_is_keras_adam_but_for_rounding(tensors):
    for ours, keras_own in zip(
        trained(FusedAdam(**VALUES), 50), trained(keras.optimizers.Adam(**VALUES), 50), strict=True
    ):
        np.testing.assert_allclose(ours, keras_own, rtol=1e-4, atol=1e-6)


def test_its_variables_are_those_of_keras_adam(tensors):
    ours, keras_own = FusedAdam(), keras.optimizers.Adam()
    for optimizer in (ours, keras_own):
        optimizer.build([keras.Variable(np.zeros((3, 2), np.float32), name="kernel")])
    assert [(v.name, v.shape, v.dtype) for v in ours.variables] == [
        (v.name, v.shape, v.dtype) for v in keras_own.variables
    ]
    assert ours.get_config() | {"name": ""} == keras_own.get_config() | {"name": ""}
