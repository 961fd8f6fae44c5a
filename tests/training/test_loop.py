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
        training.fit(cfg.train.epochs, lambda seconds: None, lambda epoch, steps: None)
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

    cfg = load(["model.conv_dropout=0", "model.dense_dropout=0", "train.epochs=1", "train.batch_size=32"])
    training = Training(cfg, prepared_for(cfg))
    images, labels = training.data.arrays("train")
    plain = keras.Sequential.from_config(training.model.get_config())
    before = training.model.get_weights()
    plain.set_weights(before)
    plain.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    order = epoch_order(len(images), cfg.seed, 1).numpy()
    rows = plain.fit(images[order], labels[order], batch_size=32, shuffle=False, verbose=0).history
    calls: list[tuple[int, int]] = []
    training.fit(1, lambda seconds: None, lambda epoch, steps: calls.append((epoch, steps)))
    assert len(images) % 32, "the last batch is a smaller one"
    assert calls == [(1, 20), (1, training.steps_per_epoch)], "an epoch is several calls of TensorFlow"
    assert training.history[0]["loss"] == pytest.approx(rows["loss"][0], rel=1e-4)
    assert training.history[0]["accuracy"] == pytest.approx(rows["accuracy"][0], abs=1.5 / len(images))
    for first, weight, expected in zip(before, training.model.get_weights(), plain.get_weights(), strict=True):
        error = np.linalg.norm(weight - expected) / np.linalg.norm(expected - first)
        assert (
            error < 0.01
        )  # a batch left out makes it 0.05 and more; where a gradient is almost 0, Adam's sign is chance


def test_large_batches_are_a_call_each(project, tensors):
    """Between two calls Ctrl-C is answered."""
    from epochwise.training.loop import Training

    cfg = load(["train.batch_size=640", "train.epochs=1"])
    calls: list[int] = []
    Training(cfg, prepared_for(cfg)).fit(1, lambda seconds: None, lambda epoch, steps: calls.append(steps))
    assert calls == [1, 2]


def test_each_step_drops_other_units(project, tensors):
    from epochwise.training.backend import tf
    from epochwise.training.loop import Training
    from epochwise.training.network import training_pass

    cfg = load(["train.epochs=1"])
    training = Training(cfg, prepared_for(cfg))
    seed_state = training.model.get_layer("conv_dropout").seed_generator.state
    before = seed_state.numpy()
    training.fit(1, lambda seconds: None, lambda epoch, steps: None)
    assert (seed_state.numpy() - before).tolist() == [0, training.steps_per_epoch]
    images = tf.ones([2, *training.data.image_shape])
    first, second = (training_pass(training.model, images).numpy() for _ in range(2))
    assert not np.array_equal(first, second)


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
