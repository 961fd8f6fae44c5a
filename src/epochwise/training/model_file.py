"""Save and load a model. The file holds the weights and nothing else that training needed."""

import hashlib
import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

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


def save_model(model: keras.Model, path: Path) -> None:
    """Write a `.keras` file for prediction: the same bytes for the same weights.

    The model must not be compiled: such a file would also hold the optimizer's moments, twice as large as the weights.
    Keras writes today's date into the file twice, as metadata and as the date of the zip members; both are replaced by
    a date in 1980. Objects that several layers share, such as a precision, it names by their place in memory; they are
    numbered instead.
    """
    saved = io.BytesIO()
    with replacing(path) as temporary:
        model.save(temporary)
        with zipfile.ZipFile(temporary) as original, zipfile.ZipFile(saved, "w") as archive:
            for name in original.namelist():
                content = original.read(name)
                if name == "metadata.json":
                    content = json.dumps(json.loads(content) | {"date_saved": "1980-01-01@00:00:00"}).encode()
                elif name == "config.json":
                    content = _with_numbered_objects(content)
                archive.writestr(zipfile.ZipInfo(name, ZIP_EPOCH), content)
        temporary.write_bytes(saved.getvalue())


def _with_numbered_objects(config: bytes) -> bytes:
    numbers: dict[bytes, int] = {}
    return re.sub(
        rb'(?<="shared_object_id": )\d+', lambda found: b"%d" % numbers.setdefault(found[0], len(numbers) + 1), config
    )


def load_model(path: Path) -> keras.Model:
    """Read a model in Keras's safe mode, which refuses any code in the file. Raises InputError if that fails."""
    try:
        return keras.models.load_model(path, safe_mode=True, compile=False)
    except Exception as error:  # zip, JSON, HDF5 and Keras's own errors, because a file can hold anything
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: not a readable Keras model ({reason})") from error


def in_float32(model: keras.Model) -> keras.Model:
    """A copy of a model that computes in float32, in which its weights are, whatever it was trained in."""
    copy = keras.saving.deserialize_keras_object(_with_float32(keras.saving.serialize_keras_object(model)))
    copy.set_weights(model.get_weights())
    return copy


def _with_float32(saved: Any) -> Any:
    """A saved model, float32 in place of every precision that has bfloat16 in it."""
    if isinstance(saved, dict):
        return {
            key: "float32" if key == "dtype" and "bfloat16" in str(value) else _with_float32(value)
            for key, value in saved.items()
        }
    return [_with_float32(item) for item in saved] if isinstance(saved, (list, tuple)) else saved
