"""Split the training images of a source into a training and a validation part, each class in the same proportion."""

import numpy as np
from omegaconf import DictConfig

from epochwise.common.errors import InputError
from epochwise.data.images import SourceShape


def check_split(cfg: DictConfig, shape: SourceShape) -> None:
    """Refuse parts that cannot be split off training data of this shape. Raises InputError."""
    left = shape.train_images
    for key, whole in (("validation_size", "training images"), ("train_size", "images that validation leaves")):
        size, largest = cfg.prepare[key], left - shape.classes
        if size and not shape.classes <= size <= largest:
            raise InputError(
                f"prepare.{key} must be 0, or {shape.classes}…{largest} for the {left} {whole} and {shape.classes} "
                f"classes of {cfg.prepare.source}, got {size}"
            )
        if size and shape.smallest_class < 2:
            raise InputError(
                f"prepare.{key} must be 0 for {cfg.prepare.source}, got {size}: a class of it has one training image, "
                "and a stratified split needs two"
            )
        left -= size


def usual_test_size(images: int, classes: int) -> int:
    """How many images to split off as the test set, for a message: a sixth, but one of each class."""
    return max(classes, images // 6)


def split_off_test(labels: np.ndarray, size: int, seed: int, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the training and of the test set, both ascending, of data that comes as one set.

    Raises InputError if `size`, which is prepare.test_size, is none that the labels allow.
    """
    counts = np.bincount(labels)
    classes, largest = len(counts), len(labels) - len(counts)
    if not size:
        raise InputError(
            f"prepare.source: {where} has no test set; prepare.test_size={usual_test_size(len(labels), classes)} "
            f"splits that many of its {len(labels):,} images off, each class in the same proportion"
        )
    if not classes <= size <= largest or counts.min() < 2:
        few = "; each class needs two images" if counts.min() < 2 else ""
        raise InputError(
            f"prepare.test_size must be {classes}…{largest} for the {len(labels):,} images and {classes} classes of "
            f"{where}, got {size}{few}"
        )
    return _draw(np.arange(len(labels)), labels, size, seed)


def split(labels: np.ndarray, prepare: DictConfig) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the training and of the validation part, both ascending.

    `prepare.train_size` images are drawn from the training part after the validation part was split off, so that the
    validation part does not depend on it. Raises InputError if a class has too few images.
    """
    training, validation = _draw(np.arange(len(labels)), labels, prepare.validation_size, prepare.split_seed)
    if prepare.train_size:
        _, training = _draw(training, labels, prepare.train_size, prepare.split_seed)
    return training, validation


def _draw(indices: np.ndarray, labels: np.ndarray, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """`indices` without `size` of them that are drawn, and those that are drawn."""
    if size == 0:
        return indices, indices[:0]
    from sklearn.model_selection import train_test_split  # here because scikit-learn takes long to import

    try:
        rest, drawn = train_test_split(indices, test_size=size, stratify=labels[indices], random_state=seed)
    except ValueError as error:  # scikit-learn's message names the class that has too few
        raise InputError(f"prepare: {size} of {len(indices)} images cannot be drawn, stratified: {error}") from error
    return np.sort(rest), np.sort(drawn)
