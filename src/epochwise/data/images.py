"""Labelled images: as a reader of files found them, and as the stage prepare takes them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from epochwise.common.errors import InputError

MAX_BYTES = 4 * 2**30  # of a source's arrays, unpacked; as prepared float32 they take four times as much on disk


class Images(NamedTuple):
    """Training and test set: pixels as uint8 N×H×W×C, labels as int64 N in 0…classes-1."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


@dataclass(frozen=True)
class SourceShape:
    """The sizes of a source, which a configuration is checked against."""

    train_images: int
    image: tuple[int, ...]  # H, W, C
    classes: int
    smallest_class: int  # how many training images the rarest class has


@dataclass(frozen=True)
class ReadOptions:
    """The parameters of `prepare` that say how a source is read; params.yaml explains each."""

    test_size: int = 0
    split_seed: int = 0
    pixel_max: float = 0
    image_size: int = 0
    transpose: bool = False

    @staticmethod
    def of(prepare: Mapping[Any, Any]) -> "ReadOptions":
        """The options in the section `prepare`. Runs made before there was an option have read their source without."""
        return ReadOptions(
            test_size=prepare.get("test_size", 0),
            split_seed=prepare["split_seed"],
            pixel_max=prepare.get("pixel_max", 0),
            image_size=prepare.get("image_size", 0),
            transpose=prepare.get("transpose", False),
        )


@dataclass(frozen=True)
class RawImages:
    """Labelled images as they are in a user's files: arrays of any type and layout, one row an image."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray | None = None  # None if the files hold one set of images, which is not split yet
    y_test: np.ndarray | None = None
    class_names: list[str] = field(default_factory=list)  # in the order of the labels; empty if the files name none
    names_from: str = ""  # what a message calls the place that gives the names; empty if they are no user's
    has_white_at_255: bool = False  # whether the reader has scaled the pixels as `prepare.pixel_max` says
    conversions: list[str] = field(default_factory=list)  # what the reader has changed, a phrase each
    notes: list[str] = field(default_factory=list)  # what a user should know, a sentence each


@dataclass(frozen=True)
class Source:
    """A source that was read and found fit to learn from."""

    images: Images
    class_names: list[str]  # empty if the source names none
    content: str  # what identifies the content that was read: see `content_identity`
    conversions: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def shape(self) -> SourceShape:
        counts = np.bincount(self.images.y_train)
        return SourceShape(len(self.images.x_train), self.images.x_train.shape[1:], len(counts), int(counts.min()))


def check_unpacked_size(path: Path, size: int) -> None:
    """Raise InputError if the file at `path` unpacks to more than MAX_BYTES."""
    if size > MAX_BYTES:
        raise InputError(
            f"prepare.source: {path} unpacks to {size / 2**30:.1f} GiB; {MAX_BYTES // 2**30} GiB are the most"
        )
