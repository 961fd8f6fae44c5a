"""Check a `.keras` file before TensorFlow is imported to read it."""

import zipfile
import zlib
from pathlib import Path

from epochwise.common.errors import InputError

MEMBERS = {"config.json", "metadata.json", "model.weights.h5"}  # of Keras 3's file format
MAX_BYTES = 2**30  # unpacked; the write-up's network takes 4.8 MB, and a zip bomb claims far more


def check_model_archive(path: Path) -> None:
    """Raise InputError unless `path` is an undamaged `.keras` file that unpacks to at most MAX_BYTES."""
    try:
        with zipfile.ZipFile(path) as archive:
            size, names = sum(member.file_size for member in archive.infolist()), set(archive.namelist())
            lacking = MEMBERS - names
            if lacking:
                raise ValueError(f"it has no {', '.join(sorted(lacking))}")
            if size > MAX_BYTES:
                raise ValueError(f"it unpacks to {size / 2**30:.1f} GiB")
            damaged = archive.testzip()
            if damaged:
                raise ValueError(f"{damaged} is damaged")
    except (OSError, ValueError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: not a readable Keras model, as model.keras of a run is ({error})") from error
