"""Stage 1, prepare: images of any source become N×H×W×C in 0…1 with one-hot labels, and a validation part is split off.

The result is the same bytes every time: arrays are deflated one by one, and a zip written by NumPy carries no dates.
"""

from pathlib import Path

import numpy as np
from omegaconf import DictConfig, OmegaConf

from epochwise.common.errors import InputError
from epochwise.common.files import digest, replacing, write_json
from epochwise.data import sources
from epochwise.data.prepared import ARCHIVE, META, Prepared


def prepare(cfg: DictConfig, folder: Path, cache: Path) -> Prepared:
    """Write the data set of `cfg.prepare` into `folder`. Raises InputError if its source cannot be had or read."""
    images = sources.load(cfg.prepare.source, cache)
    training, validation = split(images.y_train, cfg.prepare)
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


def split(labels: np.ndarray, prepare: DictConfig) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the training and of the validation part, each ascending, with the classes in equal shares.

    `prepare.train_size` images are then drawn from the training part, so that it leaves the validation part alone.
    Raises InputError if a class has too few images for that.
    """
    training, validation = _draw(np.arange(len(labels)), labels, prepare.validation_size, prepare.split_seed)
    if prepare.train_size:
        _, training = _draw(training, labels, prepare.train_size, prepare.split_seed)
    return training, validation


def _draw(indices: np.ndarray, labels: np.ndarray, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    if size == 0:
        return indices, indices[:0]
    from sklearn.model_selection import train_test_split

    try:
        rest, drawn = train_test_split(indices, test_size=size, stratify=labels[indices], random_state=seed)
    except ValueError as error:  # scikit-learn says which class has too few
        raise InputError(f"prepare: {size} of {len(indices)} images cannot be drawn, stratified: {error}") from error
    return np.sort(rest), np.sort(drawn)
