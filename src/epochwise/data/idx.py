"""The IDX format, in which MNIST is published: http://yann.lecun.com/exdb/mnist.

A file is two zero bytes, the type of its values, the number of dimensions, each dimension as a big-endian uint32, then
the values.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from epochwise.common.errors import InputError
from epochwise.data.images import Images, check_unpacked_size, with_channel

IDX_FILES = (  # in the order of `Images`
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
UINT8 = 0x08  # the type byte of unsigned bytes


def read_idx_folder(folder: Path) -> Images:
    """The images in the four IDX_FILES of a folder. Raises InputError if one is missing or not readable."""
    x_train, y_train, x_test, y_test = (read_idx(path) for path in idx_paths(folder))
    return Images(with_channel(x_train), y_train.astype(np.int64), with_channel(x_test), y_test.astype(np.int64))


def idx_paths(folder: Path) -> list[Path]:
    """The four files of an IDX folder, in the order of IDX_FILES. Raises InputError if one is missing.

    Each may be gzipped, and may be spelled with a dot, as in `train-images.idx3-ubyte`.
    """
    return [_find(folder, name) for name in IDX_FILES]


def read_idx(path: Path) -> np.ndarray:
    """The array in an IDX file of unsigned bytes, gzipped or not. Raises InputError for any other content."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as stream:
            start = stream.read(4)
            zeros, value_type, dimensions = struct.unpack(">HBB", start)
            if zeros or value_type != UINT8:
                raise InputError(
                    f"prepare.source: {path} is not an IDX file of unsigned bytes (it starts {start.hex()})"
                )
            shape = struct.unpack(f">{dimensions}I", stream.read(4 * dimensions))
            size = math.prod(shape)
            check_unpacked_size(path, size)
            content = stream.read(size)
            # One byte shows that there is more. The rest is not read: a small gzip file can unpack to any size.
            more = len(content) == size and bool(stream.read(1))
    except (OSError, EOFError, MemoryError, zlib.error, struct.error) as error:
        reason = str(error) or type(error).__name__
        raise InputError(f"prepare.source: {path} is not a readable IDX file ({reason})") from error
    if more or len(content) != size or dimensions not in (1, 3, 4):
        found = "more" if more else len(content)
        raise InputError(f"prepare.source: {path} is truncated or torn: {found} bytes of data for the shape {shape}")
    return np.frombuffer(content, np.uint8).reshape(shape)


def to_idx(values: np.ndarray) -> bytes:
    """The content of an IDX file that holds a uint8 array."""
    return struct.pack(f">HBB{values.ndim}I", 0, UINT8, values.ndim, *values.shape) + values.tobytes()


def _find(folder: Path, name: str) -> Path:
    dotted = name.replace("-idx", ".idx")
    for spelling in (name, f"{name}.gz", dotted, f"{dotted}.gz"):
        if (folder / spelling).is_file():
            return folder / spelling
    raise InputError(f"prepare.source: {folder} has no {name} (or .gz); an IDX folder holds {', '.join(IDX_FILES)}")
