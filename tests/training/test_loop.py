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
    from epochwise.training.batches import batches

    images, labels = np.arange(10, dtype=np.float32)[:, None], np.eye(10, dtype=np.float32)
    seen = list(batches(images, labels, batch_size=4, seed=7, epochs=3).as_numpy_iterator())
    assert [len(x) for x, _ in seen] == [4, 4, 2] * 3
    for x, y in seen:
        np.testing.assert_array_equal(x[:, 0], y.argmax(axis=1))
    orders = [tuple(np.concatenate([x[:, 0] for x, _ in seen[start : start + 3]])) for start in (0, 3, 6)]
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert len(set(orders)) == 3
    again = list(batches(images, labels, batch_size=4, seed=7, epochs=3).as_numpy_iterator())
    assert all((x == z).all() for (x, _), (z, _) in zip(seen, again, strict=True))


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
