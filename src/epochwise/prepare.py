"""Stage 1, prepare: images of any source become N×H×W×C in 0…1 with one-hot labels, and a validation part is split off.

The result is the same bytes every time: arrays are deflated one by one, and a zip written by NumPy carries no dates.
"""

from pathlib import Path

import numpy as np
from omegaconf import DictConfig, OmegaConf

from epochwise import sources
from epochwise.data import ARCHIVE, META, Prepared
from epochwise.files import digest, replacing, write_json


def prepare(cfg: DictConfig, folder: Path, cache: Path) -> Prepared:
    """Write the data set of `cfg.prepare` into `folder`. Raises InputError if its source cannot be had or read."""
    images = sources.load(cfg.prepare.source, cache)
    training, validation = split(images.y_train, cfg.prepare.validation_size, cfg.prepare.split_seed)
    classes = int(images.y_train.max()) + 1
    parts = {
        "train": (images.x_train[training], images.y_train[training]),
        "validation": (images.x_train[validation], images.y_train[validation]),
        "test": (images.x_test, images.y_test),
    }
    arrays = {}
    for name, (x, y) in parts.items():
        arrays[f"x_{name}"] = x.astype(np.float32) / np.float32(255)
        arrays[f"y_{name}"] = np.eye(classes, dtype=np.float32)[y]
    with replacing(folder / ARCHIVE) as temporary:
        np.savez_compressed(temporary, **arrays)
    meta = {
        "prepare": OmegaConf.to_container(cfg.prepare),
        "source": sources.identity(cfg.prepare.source),
        "image_shape": list(images.x_train.shape[1:]),
        "classes": classes,
        **{f"{name}_images": len(x) for name, (x, _) in parts.items()},
        "sha256": digest(folder / ARCHIVE),
    }
    write_json(folder / META, meta)
    return Prepared(folder, meta)


def split(labels: np.ndarray, validation_size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the training and of the validation part, each ascending, with the classes in equal shares."""
    everything = np.arange(len(labels))
    if validation_size == 0:
        return everything, everything[:0]
    from sklearn.model_selection import train_test_split

    training, validation = train_test_split(
        everything, test_size=validation_size, stratify=labels, random_state=seed, shuffle=True
    )
    return np.sort(training), np.sort(validation)
