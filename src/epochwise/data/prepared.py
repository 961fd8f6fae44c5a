"""Prepared data: what the stage prepare writes, and train, evaluate and predict read."""

import hashlib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from epochwise.common.errors import InputError
from epochwise.common.files import read_json

ARCHIVE = "data.npz"
META = "meta.json"

Arrays = tuple[np.ndarray, np.ndarray]  # images float32 N×H×W×C in 0…1; labels float32 N×classes, one-hot


@dataclass(frozen=True)
class DataMeta:
    """What meta.json says of prepared data: its parameters, its source, its sizes and its hash."""

    prepare: dict[str, Any]  # the section `prepare` of the configuration that it was made with
    source: str | None  # a name, or the sha256 of the source's content if that is a path
    image_shape: list[int]  # H, W, C
    classes: int
    train_images: int
    validation_images: int
    test_images: int
    sha256: str  # of data.npz
    class_names: list[str] = field(default_factory=list)  # empty if the source gives none
    conversions: list[str] = field(default_factory=list)  # what was changed in the source's images and labels
    notes: list[str] = field(default_factory=list)  # what a user should know of the source
    image_style: dict[str, Any] = field(default_factory=dict)  # see data/style.py; empty in data of earlier versions

    @staticmethod
    def read(folder: Path) -> "DataMeta":
        """Raises InputError if meta.json does not exist or does not describe prepared data."""
        values = read_json(folder / META)
        added_later = ("class_names", "conversions", "notes")  # data that was prepared before has none of them
        values = dict.fromkeys(added_later, []) | {"image_style": {}} | values
        types: dict[str, Any] = {"prepare": dict, "sha256": str, "source": (str, type(None)), "image_style": dict}
        types |= dict.fromkeys(("image_shape", *added_later), list)
        given: dict[str, Any] = {item.name: values.get(item.name) for item in fields(DataMeta)}
        for name, value in given.items():
            if not isinstance(value, types.get(name, int)):
                raise InputError(f"{folder / META}: does not describe prepared data: {name} is {value!r}")
        return DataMeta(**given)


@dataclass(frozen=True)
class PreparedData:
    """A folder with prepared data: data.npz and meta.json."""

    folder: Path
    meta: DataMeta

    @property
    def archive(self) -> Path:
        return self.folder / ARCHIVE

    @property
    def sha256(self) -> str:
        return self.meta.sha256

    @property
    def image_shape(self) -> tuple[int, ...]:
        return tuple(self.meta.image_shape)

    @property
    def validates_on_test(self) -> bool:
        """Whether the test set doubles as validation set, because no validation images were split off."""
        return self.meta.validation_images == 0

    def arrays(self, part: str) -> Arrays:
        """Images and labels of `train`, `validation` or `test`.

        Raises InputError if the archive is not the one that `meta` describes. The pipeline may have prepared other
        data since `meta` was read.
        """
        if part == "validation" and self.validates_on_test:
            part = "test"
        try:
            with open(self.archive, "rb") as stream:
                if hashlib.file_digest(stream, "sha256").hexdigest() != self.sha256:
                    raise InputError(f"{self.archive}: is not as prepare wrote it; run `dvc repro -f prepare`")
                stream.seek(0)
                with np.load(stream, allow_pickle=False) as arrays:
                    return arrays[f"x_{part}"], arrays[f"y_{part}"]
        except FileNotFoundError as error:
            raise InputError(f"{self.archive}: no prepared data here; run `dvc repro prepare` first") from error
