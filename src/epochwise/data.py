"""The prepared data: what prepare writes, and train, evaluate and predict read."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

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
