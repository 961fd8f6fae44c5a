"""Whether two models differ by more than chance on the images that both have classified."""

import math


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
