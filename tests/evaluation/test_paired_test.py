"""The paired test: McNemar's exact test for one seed, its like over images for several, and its level."""

import itertools

import numpy as np
import pytest

from epochwise.evaluation.paired_test import LEVEL, mcnemar, p_value


def answers(only_one: int, only_other: int, both: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """Which images two settings classify correctly, of which so many only one of them does."""
    one = [1] * only_one + [0] * only_other + [1] * both
    other = [0] * only_one + [1] * only_other + [1] * both
    return np.array(one), np.array(other)


@pytest.mark.parametrize("only_one, only_other", [(1, 9), (9, 1), (0, 5), (3, 4), (30, 50), (5, 5), (2000, 2100)])
def test_for_one_seed_it_is_mcnemars_exact_test(only_one, only_other):
    assert p_value(*answers(only_one, only_other)) == pytest.approx(mcnemar(only_one, only_other), rel=1e-9)


def test_settings_that_agree_on_all_images_cannot_be_told_apart():
    assert p_value(*answers(0, 0)) == 1.0


def test_what_both_classify_alike_says_nothing():
    assert p_value(*answers(3, 9, both=0)) == p_value(*answers(3, 9, both=5000))


def test_of_several_seeds_the_coin_is_tossed_once_an_image():
    one, other = np.array([3, 3, 2, 1, 0, 3, 2]), np.array([0, 2, 2, 2, 2, 1, 0])
    differences = one - other
    sums = [
        abs(int(np.sum(differences * np.array(signs)))) for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    found = abs(int(differences.sum()))
    expected = sum(value >= found for value in sums) / len(sums)
    assert p_value(one, other) == pytest.approx(expected)


def test_equal_settings_are_told_apart_at_most_as_often_as_the_level_says():
    """Two settings that are right with the same probability on each image, independently."""
    draw = np.random.default_rng(0)
    told_apart = 0
    for _ in range(2000):
        right = draw.beta(8, 1, 300)  # images are of different difficulty
        told_apart += p_value(draw.random(300) < right, draw.random(300) < right) < LEVEL
    assert 0.02 < told_apart / 2000 < LEVEL
