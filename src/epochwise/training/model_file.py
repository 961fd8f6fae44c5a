"""Save and load a model. The file holds the weights and nothing else that training needed."""

import hashlib
import io
import json
import zipfile
from pathlib import Path

import numpy as np

from epochwise.common.errors import InputError
from epochwise.common.files import replacing
from epochwise.training.backend import keras

ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that a member of a zip file can have


def weights_sha256(model: keras.Model) -> str:
    """SHA-256 over the bytes of `model.weights`, in their order."""
    sha256 = hashlib.sha256()
    for weight in model.weights:
        sha256.update(np.ascontiguousarray(weight.numpy()).tobytes())
    return sha256.hexdigest()


def save_model(model: keras.Sequential, path: Path) -> None:
    """Write a `.keras` file for prediction: the same bytes for the same weights.

    The model must not be compiled: such a file would also hold the optimizer's moments, twice as large as the weights.
    Keras writes today's date into the file twice, as metadata and as the date of the zip members; both are replaced by
    a date in 1980.
    """
    saved = io.BytesIO()
    with replacing(path) as temporary:
        model.save(temporary)
        with zipfile.ZipFile(temporary) as original, zipfile.ZipFile(saved, "w") as archive:
            for name in original.namelist():
                content = original.read(name)
                if name == "metadata.json":
                    content = json.dumps(json.loads(content) | {"date_saved": "1980-01-01@00:00:00"}).encode()
                archive.writestr(zipfile.ZipInfo(name, ZIP_EPOCH), content)
        temporary.write_bytes(saved.getvalue())


def load_model(path: Path) -> keras.Model:
    """Read a model in Keras's safe mode, which refuses any code in the file. Raises InputError if that fails."""
    try:
        return keras.models.load_model(path, safe_mode=True, compile=False)
    except Exception as error:  # zip, JSON, HDF5 and Keras's own errors, because a file can hold anything
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: not a readable Keras model ({reason})") from error
