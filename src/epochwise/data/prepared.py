"""The prepared data: what prepare writes, and train, evaluate and predict read."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from epochwise.common.errors import InputError
from epochwise.common.files import read_json

ARCHIVE = "data.npz"
META = "meta.json"


KINDS = {  # of what is read in meta.json
    **{"prepare": dict, "sha256": str, "image_shape": list, "classes": int},
    **dict.fromkeys(("train_images", "validation_images", "test_images"), int),
}


@dataclass(frozen=True)
class Prepared:
    """A prepared data set. Images are float32 N×H×W×C in 0…1, labels float32 N×classes, one-hot."""

    folder: Path
    meta: dict

    @property
    def archive(self) -> Path:
        return self.folder / ARCHIVE

    @property
    def sha256(self) -> str:
        return self.meta["sha256"]

    @property
    def image_shape(self) -> tuple[int, ...]:
        return tuple(self.meta["image_shape"])

    @property
    def classes(self) -> int:
        return self.meta["classes"]

    @property
    def validates_on_test(self) -> bool:
        return self.meta["validation_images"] == 0

    def arrays(self, part: str) -> tuple[np.ndarray, np.ndarray]:
        """Images and labels of `train`, `validation` or `test`; validation is the test set where there is no other.

        Raises InputError if the archive is no longer the one that `meta` describes: minutes lie between two readings,
        and the pipeline may have prepared other data meanwhile.
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


def read_meta(folder: Path) -> dict:
    """meta.json of prepared data. Raises InputError if it is not there, or is none."""
    meta = read_json(folder / META)
    wrong = [key for key, kind in KINDS.items() if not isinstance(meta.get(key), kind)]
    if wrong:
        raise InputError(f"{folder / META}: does not describe prepared data: {wrong[0]} is {meta.get(wrong[0])!r}")
    return meta
