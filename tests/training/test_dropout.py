"""Dropout from cheap bits: its rate, its independence, and that the same seed drops the same units."""

import numpy as np
import pytest

from epochwise.training.backend import tf
from epochwise.training.dropout import DRAWS, dropout, kept_draws

UNITS = 1023  # not a multiple of the four draws in an integer


def kept(rates: list[float], seed: tuple[int, int], images: int = 400) -> np.ndarray:
    """Which units are kept, images×UNITS."""
    dropped = dropout(tf.ones([images, UNITS]), rates, tf.constant(seed, tf.int64)).numpy()
    assert set(np.unique(dropped)) <= {0, np.float32(DRAWS / kept_draws(rates))}
    return dropped > 0


@pytest.mark.parametrize(
    ("rates", "draws"),
    [([0.25], 49152), ([0.5], 32768), ([0.25, 0.5], 24576), ([0.1], 58982), ([0, 0], DRAWS), ([0.9999999], 1)],
)
def test_the_rate_is_exact_to_a_65536th(rates, draws):
    assert kept_draws(rates) == draws


def test_every_draw_below_the_limit_is_kept_and_no_other(monkeypatch, tensors):
    """All 65,536 values once, four in each integer as dropout draws them."""
    every = tf.reshape(tf.bitcast(tf.reshape(tf.range(DRAWS), [-1, 4]), tf.uint16)[..., 0], [-1, 4])
    monkeypatch.setattr(
        tf.random, "stateless_uniform", lambda shape, *_, **__: tf.reshape(tf.bitcast(every, tf.uint64), shape)
    )
    dropped = dropout(tf.ones([4, DRAWS // 4]), [0.25, 0.5], seed=None).numpy().ravel()
    assert (dropped > 0).sum() == 24576
    assert dropped.mean() == 1, "the expected value is unchanged"


@pytest.mark.parametrize("rates", [[0.25], [0.5], [0.25, 0.5]])
def test_units_are_kept_independently_of_each_other(tensors, rates):
    """Neighbours, images and steps: every correlation is within 5 standard errors of zero."""
    first, second = kept(rates, (3, 0)).astype(float), kept(rates, (3, 1)).astype(float)
    limit, probability = 5 / np.sqrt(first.size), kept_draws(rates) / DRAWS
    assert abs(first.mean() - probability) < limit * np.sqrt(probability * (1 - probability))
    pairs = [(first, second), (first[:, 1:], first[:, :-1]), (first[1:], first[:-1]), (first[:, 4:], first[:, :-4])]
    for one, other in pairs:
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < limit


def test_two_layers_drop_more_than_the_one_with_the_higher_rate(tensors):
    """They would not if both dropped by the same random numbers."""
    assert kept([0.5, 0.5], (0, 0)).mean() == pytest.approx(0.25, abs=0.01)


def test_the_same_seed_drops_the_same_units(tensors):
    first, again, later = kept([0.5], (1, 7)), kept([0.5], (1, 7)), kept([0.5], (1, 8))
    assert (first == again).all()
    assert (first != later).any()


def test_rates_of_zero_drop_nothing(tensors):
    units = tf.random.stateless_normal([4, UNITS], [0, 0])
    assert dropout(units, [0, 0], None) is units
