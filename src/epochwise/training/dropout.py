"""Dropout from cheap random bits."""

import math
from collections.abc import Sequence

from epochwise.training.backend import tf

DRAWS = 2**16  # values that the 16 random bits of a unit can have


def kept_draws(rates: Sequence[float]) -> int:
    """How many of the DRAWS keep a unit that dropout layers of these `rates`, one after the other, have to pass."""
    return max(1, round(DRAWS * math.prod(1 - rate for rate in rates)))


def dropout(units: tf.Tensor, rates: Sequence[float], seed: tf.Tensor) -> tf.Tensor:
    """Drop `units` (N×units) as independent dropout layers of these `rates`, one after the other, would.

    A unit that passes several layers is kept with the product of their probabilities, so one draw decides for all of
    them. It has 16 random bits, where Keras draws 32 for each layer. What is kept is divided by its probability, as in
    Keras. The same `seed` (two integers) drops the same units.
    """
    kept = kept_draws(rates)
    if kept == DRAWS:
        return units
    images, width = tf.shape(units)[0], units.shape[1]
    draws = tf.random.stateless_uniform([images, -(-width // 4)], seed, minval=None, maxval=None, dtype=tf.uint64)
    draws = tf.reshape(tf.bitcast(draws, tf.uint16), [images, -1])[:, :width]  # four draws in each uint64
    return units * (tf.cast(draws < tf.constant(kept, tf.uint16), units.dtype) * (DRAWS / kept))
