"""Stage 1, prepare: images of any source become N×H×W×C in 0…1 with one-hot labels, and a validation part is split off.

The result is the same bytes every time: NumPy compresses the arrays one by one, and its zip files hold no dates.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from epochwise.common.files import file_digest, replacing, write_json
from epochwise.data.prepared import ARCHIVE, META, Arrays, DataMeta, PreparedData
from epochwise.data.sources import class_names, content_identity, load_images
from epochwise.data.split import split
from epochwise.data.style import style_of


def prepare(cfg: DictConfig, folder: Path, cache: Path) -> PreparedData:
    """Write the data that `cfg.prepare` asks for into `folder`; downloads are kept in `cache`.

    Raises InputError if the source cannot be fetched, read or split.
    """
    images = load_images(cfg.prepare.source, cache)
    training, validation = split(images.y_train, cfg.prepare)
    classes = int(images.y_train.max()) + 1
    names = class_names(cfg.prepare.source, classes)
    parts = {
        "train": _normalise(images.x_train[training], images.y_train[training], classes),
        "validation": _normalise(images.x_train[validation], images.y_train[validation], classes),
        "test": _normalise(images.x_test, images.y_test, classes),
    }
    arrays: dict[str, Any] = {}
    for part, (pixels, labels) in parts.items():
        arrays[f"x_{part}"], arrays[f"y_{part}"] = pixels, labels
    with replacing(folder / ARCHIVE) as temporary:
        np.savez_compressed(temporary, **arrays)
    meta = DataMeta(
        prepare=dict(cfg.prepare),
        source=content_identity(cfg.prepare.source),
        image_shape=list(images.x_train.shape[1:]),
        classes=classes,
        train_images=len(training),
        validation_images=len(validation),
        test_images=len(images.x_test),
        sha256=file_digest(folder / ARCHIVE),
        class_names=names,
        image_style=style_of(parts["test"][0]).as_json(),
    )
    write_json(folder / META, asdict(meta))
    return PreparedData(folder, meta)


def _normalise(pixels: np.ndarray, labels: np.ndarray, classes: int) -> Arrays:
    """Pixels 0…255 as float32 in 0…1, and labels as one-hot float32."""
    return pixels.astype(np.float32) / np.float32(255), np.eye(classes, dtype=np.float32)[labels]
