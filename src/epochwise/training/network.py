"""The write-up's CNN, its identity (a hash over the weights) and a file of it that is the same for the same weights."""

import hashlib
import io
import json
import zipfile
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from epochwise.common.errors import InputError
from epochwise.common.files import replacing
from epochwise.training.backend import keras

SCORING_BATCH = 1000  # images scored at once, in every stage, so that equal weights give the same loss to the bit
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date a zip member can carry


def build_model(cfg: DictConfig, image_shape: tuple[int, ...], classes: int, precision: str, seed: int) -> keras.Model:
    """Two convolutions, pooling, two dropouts, two dense layers: 1,199,882 parameters for 28×28×1 and 10 classes.

    The seed decides initial weights and dropout, so it also resets Python's, NumPy's and Keras's global generators.
    The last layer computes in float32 in every precision, as Keras's mixed-precision guide asks for a softmax.
    """
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(image_shape, name="image"),
            layers.Conv2D(cfg.filters[0], cfg.kernel_size, activation="relu", dtype=precision, name="conv_1"),
            layers.Conv2D(cfg.filters[1], cfg.kernel_size, activation="relu", dtype=precision, name="conv_2"),
            layers.MaxPooling2D(cfg.pool_size, dtype=precision, name="pool"),
            layers.Dropout(cfg.conv_dropout, dtype=precision, name="conv_dropout"),
            layers.Flatten(dtype=precision, name="flatten"),
            layers.Dropout(cfg.dense_dropout, dtype=precision, name="dense_dropout"),
            layers.Dense(cfg.dense_units, activation="relu", dtype=precision, name="dense"),
            layers.Dense(classes, activation="softmax", dtype="float32", name="probabilities"),
        ],
        name="cnn",
    )


def compile_model(model: keras.Model, learning_rate: float) -> None:
    """Adam, categorical cross-entropy and accuracy, as the write-up has it."""
    model.compile(optimizer=keras.optimizers.Adam(learning_rate), loss="categorical_crossentropy", metrics=["accuracy"])


def weights_sha256(model: keras.Model) -> str:
    """SHA-256 over the bytes of `model.weights`, in their order."""
    sha = hashlib.sha256()
    for weight in model.weights:
        sha.update(np.ascontiguousarray(weight.numpy()).tobytes())
    return sha.hexdigest()


def save_model(model: keras.Model, path: Path) -> None:
    """Save for prediction, without the optimizer: a `.keras` file, byte-identical for identical weights.

    Keras writes today's date into the archive twice (metadata and zip member), so both are set to 1980.
    """
    saved = io.BytesIO()
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    with replacing(path) as temporary:
        copy.save(temporary)
        with zipfile.ZipFile(temporary) as original, zipfile.ZipFile(saved, "w") as archive:
            for name in original.namelist():
                content = original.read(name)
                if name == "metadata.json":
                    content = json.dumps(json.loads(content) | {"date_saved": "1980-01-01@00:00:00"}).encode()
                archive.writestr(zipfile.ZipInfo(name, ZIP_EPOCH), content)
        temporary.write_bytes(saved.getvalue())


def load_model(path: Path) -> keras.Model:
    """Read a model, refusing any code inside the file (Keras's safe mode). Raises InputError if it is not readable."""
    try:
        return keras.models.load_model(path, safe_mode=True, compile=False)
    except Exception as error:  # zip, JSON, HDF5 and Keras's own errors, for a file can hold anything
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: not a readable Keras model ({reason})") from error
