"""A user's own `.npz`: four plain arrays of whole numbers, named as the fields of `Images`."""

import zipfile
from pathlib import Path

import numpy as np

from epochwise.common.errors import InputError, one_line
from epochwise.data.images import Images, check_unpacked_size, with_channel


def read_npz(path: Path) -> Images:
    """The images in an .npz. Raises InputError if arrays are missing, not readable or not whole numbers.

    Pickled objects are refused, because unpickling runs code. `check_images` does the rest of the checks.
    """
    arrays = _read_arrays(path)
    missing = [key for key in Images._fields if key not in arrays]
    if missing:
        raise InputError(f"prepare.source: {path} lacks {', '.join(missing)}; it must hold {', '.join(Images._fields)}")
    for name, values in arrays.items():
        if not isinstance(values, np.ndarray) or values.dtype.kind not in "iu":
            found = getattr(values, "dtype", "no array")
            raise InputError(f"prepare.source: {name} in {path} is {found}; pixels and labels are whole numbers")
    return Images(
        _pixels("x_train", arrays["x_train"], path),
        _labels(arrays["y_train"]),
        _pixels("x_test", arrays["x_test"], path),
        _labels(arrays["y_test"]),
    )


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(path) as members:
            check_unpacked_size(path, sum(member.file_size for member in members.infolist()))
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in Images._fields if key in archive}
    except InputError:
        raise
    except Exception as error:  # zip, deflate, header and memory errors, because a file can claim anything
        reason = one_line(error) or type(error).__name__
        reason = "it holds pickled objects, which are never loaded" if "allow_pickle" in reason else reason
        raise InputError(f"prepare.source: {path} is not a readable .npz of plain arrays ({reason})") from error


def _pixels(name: str, values: np.ndarray, path: Path) -> np.ndarray:
    if values.size and (values.min() < 0 or values.max() > 255):
        raise InputError(f"prepare.source: {name} in {path} holds values outside 0…255")
    return with_channel(values.astype(np.uint8))


def _labels(values: np.ndarray) -> np.ndarray:
    """Labels as int64; labels N×1, as Keras gives CIFAR's, become N."""
    return (values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values).astype(np.int64)
