"""Stage 1, prepare: images of any source become N×H×W×C in 0…1 with one-hot labels, and a validation part is split off.

The result is the same bytes every time: the arrays are compressed one by one, and the zip file holds no dates.
"""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO

import numpy as np
from omegaconf import DictConfig

from epochwise.common.files import file_digest, replacing, write_json
from epochwise.data.images import Images, ReadOptions, Source
from epochwise.data.prepared import ARCHIVE, META, DataMeta, PreparedData
from epochwise.data.sources import check_content, load_source
from epochwise.data.split import split
from epochwise.data.style import style_of, style_sample

WRITTEN_AT_ONCE = 2**22  # values; as float32 they take 16 MiB


def prepare(cfg: DictConfig, folder: Path, cache: Path, source: Source | None = None) -> PreparedData:
    """Write the data that `cfg.prepare` asks for into `folder`; downloads are kept in `cache`.

    `source` is what `cfg.prepare.source` holds, if it was read before. Raises InputError if the source cannot be
    fetched, read or split, or if it has changed since it was read.
    """
    if source is None:
        source = load_source(cfg.prepare.source, cache, ReadOptions.of(cfg.prepare))
    images = source.images
    training, validation = split(images.y_train, cfg.prepare)
    classes = source.shape.classes
    with replacing(folder / ARCHIVE) as temporary:
        _write_archive(temporary, images, training, validation, classes)
        check_content(cfg.prepare.source, source.content)
    meta = DataMeta(
        prepare=dict(cfg.prepare),
        source=source.content,
        image_shape=list(images.x_train.shape[1:]),
        classes=classes,
        train_images=len(training),
        validation_images=len(validation),
        test_images=len(images.x_test),
        sha256=file_digest(folder / ARCHIVE),
        class_names=source.class_names,
        conversions=source.conversions,
        notes=source.notes,
        image_style=style_of(_normalised(images.x_test[style_sample(len(images.x_test))])).as_json(),
    )
    write_json(folder / META, asdict(meta))
    return PreparedData(folder, meta)


def _normalised(pixels: np.ndarray) -> np.ndarray:
    """Pixels 0…255 as float32 in 0…1."""
    return pixels.astype(np.float32) / np.float32(255)


def _write_archive(path: Path, images: Images, training: np.ndarray, validation: np.ndarray, classes: int) -> None:
    """Write the arrays as `np.savez_compressed` does, but so that they are never all in memory as float32."""
    parts = {
        "train": (images.x_train, images.y_train, training),
        "validation": (images.x_train, images.y_train, validation),
        "test": (images.x_test, images.y_test, np.arange(len(images.x_test))),
    }
    one_hot = np.eye(classes, dtype=np.float32)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as archive:
        for part, (pixels, labels, chosen) in parts.items():
            with _array_in(archive, f"x_{part}", (len(chosen), *pixels.shape[1:])) as member:
                for some in _batches(chosen, pixels[0].size):
                    member.write(_normalised(pixels[some]).tobytes())
            with _array_in(archive, f"y_{part}", (len(chosen), classes)) as member:
                for some in _batches(chosen, classes):
                    member.write(one_hot[labels[some]].tobytes())


@contextmanager
def _array_in(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...]) -> Iterator[IO[bytes]]:
    """A member of the archive that holds an array of float32; what is written into it are the values."""
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "<f4", "fortran_order": False, "shape": shape})
        yield member


def _batches(indices: np.ndarray, values: int) -> Iterator[np.ndarray]:
    """The indices in parts, each of which takes about WRITTEN_AT_ONCE values, if one of them takes `values`."""
    step = max(1, WRITTEN_AT_ONCE // values)
    return (indices[start : start + step] for start in range(0, len(indices), step))
