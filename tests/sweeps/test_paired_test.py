"""The paired test: McNemar's exact test for one seed, tests over images and over seeds for several, and its level."""

import itertools

import numpy as np
import pytest
from scipy.stats import binomtest, ttest_ind

from epochwise.sweeps.paired_test import LEVEL, corrected, mcnemar, over_images, over_seeds, p_value


def answers(only_one: int, only_other: int, both: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """Which images two settings classify correctly, of which so many only one of them does."""
    one = [1] * only_one + [0] * only_other + [1] * both
    other = [0] * only_one + [1] * only_other + [1] * both
    return np.array([one]), np.array([other])


@pytest.mark.parametrize("only_one, only_other", [(1, 9), (9, 1), (0, 5), (3, 4), (30, 50), (5, 5), (2000, 2100)])
def test_for_one_seed_it_is_mcnemars_exact_test(only_one, only_other):
    assert p_value(*answers(only_one, only_other)) == pytest.approx(mcnemar(only_one, only_other), rel=1e-9)


def test_it_is_exact_for_many_images():
    assert mcnemar(9900, 10_100) == pytest.approx(binomtest(9900, 20_000).pvalue, rel=1e-9)


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
    assert over_images(one, other) == pytest.approx(expected)


@pytest.mark.parametrize(
    "one, other", [([271, 274], [280, 279]), ([250, 261, 270], [255, 255, 256]), ([9, 11], [7, 8])]
)
def test_over_seeds_it_is_welchs_test(one, other):
    expected = ttest_ind(one, other, equal_var=False).pvalue
    assert over_seeds(np.array(one), np.array(other)) == pytest.approx(expected, rel=1e-9)


def test_seeds_that_all_reach_the_same_differ_from_others_in_any_case():
    same = np.array([270, 270, 270])
    assert (over_seeds(same, same), over_seeds(same, same + 1)) == (1.0, 0.0)


def test_what_differs_by_images_but_not_by_seeds_is_chance():
    """One seed of the first setting is much better on 40 images, the other one is as good as those of the second."""
    one, other = np.ones((2, 300), dtype=bool), np.ones((2, 300), dtype=bool)
    one[1, :40] = other[:, :40] = False
    by_images = over_images(one.sum(axis=0), other.sum(axis=0))
    assert by_images < 1e-6 and p_value(one, other) == over_seeds(one.sum(axis=1), other.sum(axis=1)) > 0.4


def test_of_several_comparisons_the_p_values_are_holms():
    """As `p.adjust(c(0.04, 0.001, 0.03, 0.5), "holm")` of R gives them."""
    found = corrected({7: 0.04, 3: 0.001, 5: 0.03, 9: 0.5})
    assert found == pytest.approx({7: 0.09, 3: 0.004, 5: 0.09, 9: 0.5}) and list(found) == [7, 3, 5, 9]
    assert corrected({2: 0.03}) == {2: 0.03} and corrected({}) == {} and corrected({2: 0.9, 3: 0.8}) == {2: 1.0, 3: 1.0}


def test_equal_settings_are_told_apart_at_most_as_often_as_the_level_says():
    """Two settings that are right with the same probability on each image, independently."""
    draw = np.random.default_rng(0)
    told_apart = 0
    for _ in range(2000):
        right = draw.beta(8, 1, 300)  # images are of different difficulty
        told_apart += p_value(draw.random((1, 300)) < right, draw.random((1, 300)) < right) < LEVEL
    assert 0.02 < told_apart / 2000 < LEVEL


@pytest.mark.parametrize("seeds", [2, 4])
def test_seeds_of_one_setting_are_told_apart_at_most_as_often_as_the_level_says(seeds):
    """Also if a seed makes all of its run better or worse: by the images alone most of them would differ."""
    draw = np.random.default_rng(0)
    told_apart = by_images = 0
    for _ in range(1000):
        level = draw.normal(0.9, 0.03, (2, seeds, 1))
        one, other = draw.random((2, seeds, 300)) < level
        told_apart += p_value(one, other) < LEVEL
        by_images += over_images(one.sum(axis=0), other.sum(axis=0)) < LEVEL
    assert told_apart / 1000 < LEVEL < by_images / 1000
