"""Precision, recall and F1 of each class, from a confusion matrix.

The definitions are those of scikit-learn's precision_recall_fscore_support with zero_division=0: precision is the share
of the images predicted as the class that are of it, recall the share of the class's images that are predicted as it,
and F1 their harmonic mean, 2·precision·recall / (precision + recall).
"""

from collections.abc import Sequence
from typing import NamedTuple


class ClassMetrics(NamedTuple):
    """How one class was classified."""

    images: int  # of the class
    precision: float
    recall: float
    f1: float


def class_metrics(counts: Sequence[Sequence[int]]) -> list[ClassMetrics]:
    """One for each class. `counts` is the confusion matrix, actual × predicted."""
    found = []
    for number, row in enumerate(counts):
        right, images, predicted = row[number], sum(row), sum(other[number] for other in counts)
        precision, recall = right / predicted if predicted else 0.0, right / images if images else 0.0
        f1 = 2 * right / (images + predicted) if images + predicted else 0.0
        found.append(ClassMetrics(images, precision, recall, f1))
    return found
