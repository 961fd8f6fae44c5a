"""The training loop: it learns, it stops when the loss is no number, and it leaves no memory behind."""

import gc

import numpy as np
import pytest

from epochwise.common.errors import RunError
from epochwise.config.compose import load
from epochwise.pipeline.datasets import prepared_for


@pytest.fixture
def train(project, tensors):
    """Train from nothing with overrides; returns the Training."""
    from epochwise.training.loop import Training

    def run(*overrides: str) -> Training:
        cfg = load(list(overrides))
        training = Training(cfg, prepared_for(cfg))
        training.fit(cfg.train.epochs, lambda seconds: None)
        return training

    return run


def test_it_learns(train):
    history = train("train.epochs=6").history
    assert history[-1]["loss"] < history[0]["loss"] / 4
    assert history[-1]["val_accuracy"] > 0.9


def test_a_loss_that_is_no_number_ends_the_training(train):
    with pytest.raises(RunError, match="training diverged in epoch .* lower train.learning_rate"):
        train("train.learning_rate=1e38")


def test_each_epoch_has_every_example_once_in_an_order_of_its_own(tensors):
    from epochwise.training.order import epoch_order

    orders = [tuple(epoch_order(10, seed=7, epoch=epoch).numpy()) for epoch in (1, 2, 3)]
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert len(set(orders)) == 3
    assert orders == [tuple(epoch_order(10, seed=7, epoch=epoch).numpy()) for epoch in (1, 2, 3)]
    assert tuple(epoch_order(10, seed=8, epoch=1).numpy()) not in orders


def test_an_epoch_trains_on_each_batch_of_its_order_once(project, tensors):
    """Against a loop in plain Keras: its Adam, its loss and the layers one by one, without dropout."""
    from epochwise.training.backend import keras
    from epochwise.training.loop import Training
    from epochwise.training.order import epoch_order

    cfg = load(["model.conv_dropout=0", "model.dense_dropout=0", "train.epochs=1", "train.batch_size=64"])
    training = Training(cfg, prepared_for(cfg))
    images, labels = training.data.arrays("train")
    plain = keras.Sequential.from_config(training.model.get_config())
    plain.set_weights(training.model.get_weights())
    plain.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    order = epoch_order(len(images), cfg.seed, 1).numpy()
    rows = plain.fit(images[order], labels[order], batch_size=64, shuffle=False, verbose=0).history
    training.fit(1, lambda seconds: None)
    assert len(images) % 64, "the last batch is a smaller one"
    assert training.history[0]["loss"] == pytest.approx(rows["loss"][0], rel=1e-4)
    assert training.history[0]["accuracy"] == pytest.approx(rows["accuracy"][0], abs=1.5 / len(images))
    for weight, expected in zip(training.model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, atol=2e-4)


@pytest.mark.slow
def test_released_graphs_are_freed(train):
    """TensorFlow keeps about 7 MB of each traced training, unless its registry is emptied."""
    from tensorflow.python.framework.func_graph import FuncGraph

    from epochwise.training.backend import release_graphs

    counts = []
    for seed in range(3):
        train("train.epochs=1", f"seed={seed}")
        release_graphs()
        gc.collect()
        counts.append(sum(type(thing) is FuncGraph for thing in gc.get_objects()))
    assert counts[2] <= counts[1]
