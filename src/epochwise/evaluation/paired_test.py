"""Whether two models differ by more than chance on the images that both have classified."""

import math

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
    tail = sum(math.comb(n, count) for count in range(fewer + 1))
    return min(1.0, 2 * tail / 2**n)


def name_of_test(runs: int) -> str:
    """What `p_value` is called for settings with so many runs each."""
    return "McNemar's exact test" if runs == 1 else f"exact sign-flip test over images, {runs} seeds each"


def p_value(one: np.ndarray, other: np.ndarray) -> float:
    """The two-sided p-value for two settings with as many runs each, one for each seed; for one it is McNemar's.

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
