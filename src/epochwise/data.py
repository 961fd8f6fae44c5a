"""The prepared data as train, evaluate and predict read it: checked against the configuration that asks for it."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from omegaconf import DictConfig, OmegaConf

from epochwise import InputError, sources
from epochwise.files import digest, read_json

ARCHIVE = "data.npz"
META = "meta.json"


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
    def training_images(self) -> int:
        """How many the source has, with those that were split off."""
        return self.meta["train_images"] + self.meta["validation_images"]

    @property
    def validates_on_test(self) -> bool:
        return self.meta["validation_images"] == 0

    def arrays(self, part: str) -> tuple[np.ndarray, np.ndarray]:
        """Images and labels of `train`, `validation` or `test`; validation is the test set where there is no other."""
        if part == "validation" and self.validates_on_test:
            part = "test"
        with np.load(self.archive, allow_pickle=False) as arrays:
            return arrays[f"x_{part}"], arrays[f"y_{part}"]


def is_made_with(folder: Path, prepare: DictConfig) -> bool:
    """Whether `folder` holds data prepared with just these parameters from the source as it is now."""
    if not ((folder / ARCHIVE).is_file() and (folder / META).is_file()):
        return False
    meta = read_json(folder / META)
    return meta["prepare"] == OmegaConf.to_container(prepare) and meta["source"] == sources.identity(prepare.source)


def open_prepared(folder: Path, prepare: DictConfig) -> Prepared:
    """The prepared data in `folder`. Raises InputError if it is not there, torn, or made with other parameters."""
    if not (folder / META).is_file():
        raise InputError(f"{folder}: no prepared data here; run `dvc repro prepare` first")
    meta, wanted = read_json(folder / META), OmegaConf.to_container(prepare)
    other = [f"prepare.{key}={meta['prepare'].get(key)!r}" for key in wanted if meta["prepare"].get(key) != wanted[key]]
    if other:
        raise InputError(
            f"{folder}: was prepared with {', '.join(other)}, not with what this run asks for; "
            "run `dvc repro prepare` first"
        )
    if sources.identity(prepare.source) not in ("", meta["source"]):
        raise InputError(f"{folder}: {prepare.source} has changed since it was prepared; run `dvc repro -f prepare`")
    prepared = Prepared(folder, meta)
    if not zipfile.is_zipfile(prepared.archive) or digest(prepared.archive) != prepared.sha256:
        raise InputError(f"{prepared.archive}: is not as prepare wrote it; run `dvc repro -f prepare`")
    return prepared
