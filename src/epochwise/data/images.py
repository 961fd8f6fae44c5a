"""Labelled images as a source gives them, and what they must be."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from epochwise.common.errors import InputError

MAX_BYTES = 4 * 2**30  # of a source's arrays, unpacked; as prepared float32 they take four times as much memory


class Images(NamedTuple):
    """Training and test set: pixels as uint8 N×H×W×C, labels as int64 N in 0…classes-1."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


@dataclass(frozen=True)
class SourceShape:
    """The sizes of a source, which a configuration is checked against before any data is read."""

    train_images: int
    image: tuple[int, ...]  # H, W, C
    classes: int
    smallest_class: int  # how many training images the rarest class has


def with_channel(images: np.ndarray) -> np.ndarray:
    """Images N×H×W as N×H×W×1; any other array as it is."""
    return images[..., None] if images.ndim == 3 else images


def check_unpacked_size(path: Path, size: int) -> None:
    """Raise InputError if the file at `path` unpacks to more than MAX_BYTES."""
    if size > MAX_BYTES:
        raise InputError(
            f"prepare.source: {path} unpacks to {size / 2**30:.1f} GiB; {MAX_BYTES // 2**30} GiB are the most"
        )


def check_images(images: Images, path: Path) -> Images:
    """`images`, read from `path`, if they can be learned from. Raises InputError otherwise."""
    _check_part("train", images.x_train, images.y_train, path)
    _check_part("test", images.x_test, images.y_test, path)
    if images.x_train.shape[1:] != images.x_test.shape[1:]:
        raise InputError(
            f"prepare.source: {path} trains on {images.x_train.shape[1:]} and tests on {images.x_test.shape[1:]}"
        )
    labels = np.unique(images.y_train)
    if len(labels) < 2 or labels[-1] != len(labels) - 1:
        raise InputError(
            f"prepare.source: {path} has {len(labels)} training labels, the largest {labels[-1]}; "
            "there must be two or more, numbered 0…classes-1 with none left out"
        )
    if images.y_test.max() > labels[-1]:
        raise InputError(
            f"prepare.source: {path} has the test label {images.y_test.max()}, but training labels end at {labels[-1]}"
        )
    return images


def _check_part(part: str, x: np.ndarray, y: np.ndarray, path: Path) -> None:
    if x.ndim != 4 or y.ndim != 1:
        raise InputError(
            f"prepare.source: {part} images of shape {x.shape} with labels of shape {y.shape} in {path}; "
            "images are N×H×W or N×H×W×C, labels N"
        )
    if len(x) != len(y) or not x.size:
        raise InputError(f"prepare.source: {path} has {len(x)} {part} images and {len(y)} labels; give one for each")
    if y.min() < 0:
        raise InputError(f"prepare.source: {path} has the {part} label {y.min()}; labels are 0…classes-1")
