"""Whether two models, or two settings with several seeds, differ by more than chance on the same images."""

import math
from collections.abc import Mapping

import numpy as np

LEVEL = 0.05  # with a smaller p-value two models differ; otherwise the difference is within chance


def mcnemar(only_first: int, only_second: int) -> float:
    """The two-sided p-value of McNemar's exact test.

    `only_first` counts the images that only the first model gets right, `only_second` those that only the second does.
    If neither is better, each of these images is as likely to be of the first kind as of the second, so their number
    has a binomial distribution with probability ½ (Q. McNemar, Psychometrika 12, 1947; exact form: A. Agresti,
    Categorical Data Analysis, section 10.1.4). The p-value is 1 if there are no such images.
    """
    n, fewer = only_first + only_second, min(only_first, only_second)
    tail = binomial = 1  # each from the one before: to compute all of thousands by themselves takes minutes
    for count in range(fewer):
        binomial = binomial * (n - count) // (count + 1)
        tail += binomial
    return min(1.0, 2 * tail / 2**n)


def name_of_test(runs: int) -> str:
    """What `p_value` is called for settings with so many runs each."""
    several = f"exact sign-flip test over images and Welch's test over {runs} seeds each"
    return "McNemar's exact test" if runs == 1 else several


def corrected(p_values: Mapping[int, float]) -> dict[int, float]:
    """Holm's p-values, in the order of `p_values`: those of several comparisons of which none is to err by chance.

    Of m comparisons the smallest p-value counts m times, the next one m - 1 times, and none less than one before it
    (S. Holm, Scandinavian Journal of Statistics 6, 1979).
    """
    found, highest = dict[int, float](), 0.0
    for place, (key, chance) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        highest = max(highest, min(1.0, (len(p_values) - place) * chance))
        found[key] = highest
    return {key: found[key] for key in p_values}


def correction(comparisons: int) -> str:
    """What follows the name of a test if as many p-values are `corrected`."""
    return f", corrected for {comparisons} comparisons" if comparisons > 1 else ""


def p_value(one: np.ndarray, other: np.ndarray) -> float:
    """The two-sided p-value for two settings with as many runs each, one for each seed; for one it is McNemar's.

    Each array has a row for each run, and in it whether the run gets each image right (R×N). Of several runs the larger
    p-value counts: a difference is to be expected again with other images, and again with other seeds.
    """
    by_images = over_images(one.sum(axis=0), other.sum(axis=0))
    return by_images if len(one) == 1 else max(by_images, over_seeds(one.sum(axis=1), other.sum(axis=1)))


def over_seeds(one: np.ndarray, other: np.ndarray) -> float:
    """The two-sided p-value of Welch's t-test (B. L. Welch, Biometrika 34, 1947).

    Each array has, for each of a setting's runs, how many images it gets right (R, two or more).
    """
    from scipy.special import stdtr  # in here for its cost: only settings with several seeds need it

    difference = abs(float(one.mean() - other.mean()))
    variances = [float(runs.var(ddof=1)) / len(runs) for runs in (one, other)]
    variance = sum(variances)
    if not variance:
        return float(not difference)
    freedom = variance**2 / sum(own**2 / (len(runs) - 1) for own, runs in zip(variances, (one, other), strict=True))
    return float(2 * stdtr(freedom, -difference / math.sqrt(variance)))


def over_images(one: np.ndarray, other: np.ndarray) -> float:
    """The two-sided p-value of an exact sign-flip test; for settings with one run each it is McNemar's.

    Each array has, for each image, how many of a setting's runs get it right (N). A coin is tossed once for an image
    and turns all of its runs: if neither setting is better, an image's difference is as likely to be turned as not.
    """
    differences = one.astype(np.int64) - other.astype(np.int64)
    sizes, counts = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    if not len(sizes):
        return 1.0
    distribution = np.ones(1)
    for size, count in zip(sizes, counts, strict=True):
        distribution = np.convolve(distribution, _sums_of_coins(int(size), int(count)))
    reach = len(distribution) // 2  # its middle is the difference 0
    found, possible = abs(int(differences.sum())), np.abs(np.arange(-reach, reach + 1))
    return min(1.0, float(distribution[possible >= found].sum()))


def _sums_of_coins(size: int, count: int) -> np.ndarray:
    """The probabilities of the sums of `count` coins that are worth plus or minus `size`, from the lowest sum on."""
    heads = np.arange(count + 1)
    logarithms = np.concatenate([[0.0], np.cumsum(np.log((count - heads[:-1]) / heads[1:]))])  # of binomials
    probabilities = np.zeros(2 * size * count + 1)
    probabilities[:: 2 * size] = np.exp(logarithms - count * np.log(2))
    return probabilities
