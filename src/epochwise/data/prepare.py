"""Stage 1, prepare: images of any source become N×H×W×C in 0…1 with one-hot labels, and a validation part is split off.

The result is the same bytes every time: the arrays are compressed one by one, and the zip file holds no dates.
"""

import zipfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from epochwise.common.files import file_digest, replacing, write_json
from epochwise.data.images import Images, ReadOptions, Source
from epochwise.data.prepared import ARCHIVE, META, DataMeta, PreparedData
from epochwise.data.sources import content_identity, load_source
from epochwise.data.split import split

WRITTEN_AT_ONCE = 2**22  # values; as float32 they take 16 MiB


def prepare(cfg: DictConfig, folder: Path, cache: Path, source: Source | None = None) -> PreparedData:
    """Write the data that `cfg.prepare` asks for into `folder`; downloads are kept in `cache`.

    `source` is what `cfg.prepare.source` holds, if it was read before. Raises InputError if the source cannot be
    fetched, read or split.
    """
    if source is None:
        source = load_source(cfg.prepare.source, cache, ReadOptions.of(cfg.prepare))
    images = source.images
    training, validation = split(images.y_train, cfg.prepare)
    classes = source.shape.classes
    with replacing(folder / ARCHIVE) as temporary:
        _write_archive(temporary, images, training, validation, classes)
    meta = DataMeta(
        prepare=dict(cfg.prepare),
        source=content_identity(cfg.prepare.source),
        image_shape=list(images.x_train.shape[1:]),
        classes=classes,
        train_images=len(training),
        validation_images=len(validation),
        test_images=len(images.x_test),
        sha256=file_digest(folder / ARCHIVE),
        class_names=source.class_names,
        conversions=source.conversions,
        notes=source.notes,
    )
    write_json(folder / META, asdict(meta))
    return PreparedData(folder, meta)


def _write_archive(path: Path, images: Images, training: np.ndarray, validation: np.ndarray, classes: int) -> None:
    """Write the arrays as `np.savez_compressed` does, but for one that never holds all of them as float32 in memory."""
    parts = {
        "train": (images.x_train, images.y_train, training),
        "validation": (images.x_train, images.y_train, validation),
        "test": (images.x_test, images.y_test, np.arange(len(images.x_test))),
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as archive:
        for part, (pixels, labels, chosen) in parts.items():
            _write_array(archive, f"x_{part}", chosen, pixels.shape[1:], lambda some, x=pixels: _normalise(x[some]))
            _write_array(archive, f"y_{part}", chosen, (classes,), lambda some, y=labels: _one_hot(y[some], classes))


def _write_array(
    archive: zipfile.ZipFile,
    name: str,
    chosen: np.ndarray,
    shape: tuple[int, ...],
    rows: Callable[[np.ndarray], np.ndarray],
) -> None:
    """Add an array of float32: what `rows` gives for the indices `chosen`, a row of `shape` for each."""
    header = {"descr": "<f4", "fortran_order": False, "shape": (len(chosen), *shape)}
    step = max(1, WRITTEN_AT_ONCE // int(np.prod(shape)))
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array_header_1_0(member, header)
        for start in range(0, len(chosen), step):
            member.write(rows(chosen[start : start + step]).astype("<f4", copy=False).tobytes())


def _normalise(pixels: np.ndarray) -> np.ndarray:
    """Pixels 0…255 as float32 in 0…1."""
    return pixels.astype(np.float32) / np.float32(255)


def _one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    return np.eye(classes, dtype=np.float32)[labels]
