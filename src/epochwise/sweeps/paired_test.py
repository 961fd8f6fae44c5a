"""Whether two settings differ on the validation images by more than chance: McNemar's test, in its mid-p form.

Both have classified the same images, so only images on which they disagree say which is better. If the settings were
equally good, each of these would favour either one like a fair coin. The p-value is the probability that coins give a
difference larger than the one that was found, plus half of that of one as large (mid-p, which is nearer to its level
than the exact test: Fagerland, Lydersen and Laake 2013, BMC Medical Research Methodology 13:91; the test: McNemar 1947,
Psychometrika 12:153).

Of several seeds, an image counts by how many more of one setting's runs classify it correctly, and the coin is tossed
once for the image: it turns all of its runs. For one seed that is McNemar's test.

What is tested are these runs on other images. How much a setting varies with its seed, only several seeds show.
"""

import numpy as np

LEVEL = 0.05  # with a smaller p-value two settings differ; otherwise the difference is within chance


def p_value(one: np.ndarray, other: np.ndarray) -> float:
    """The two-sided mid-p value. Each array has, for each image, how many runs of a setting classify it correctly (N).

    Both settings have as many runs. 1.0 if they agree on all images.
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
    return float(distribution[possible > found].sum() + distribution[possible == found].sum() / 2)


def _sums_of_coins(size: int, count: int) -> np.ndarray:
    """The probabilities of the sums of `count` coins that are worth plus or minus `size`, from the lowest sum on."""
    heads = np.arange(count + 1)
    logarithms = np.concatenate([[0.0], np.cumsum(np.log((count - heads[:-1]) / heads[1:]))])  # of binomials
    probabilities = np.zeros(2 * size * count + 1)
    probabilities[:: 2 * size] = np.exp(logarithms - count * np.log(2))
    return probabilities
