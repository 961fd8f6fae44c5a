"""The IDX format, in which MNIST and EMNIST are published: http://yann.lecun.com/exdb/mnist.

A file is two zero bytes, the type of its values, the number of dimensions, each dimension as a big-endian uint32, then
the values. Whether a file is one, and whether it is gzipped, is seen in its first bytes: browsers and users rename.
"""

import gzip
import math
import re
import struct
import zlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from epochwise.common.errors import InputError
from epochwise.common.wording import listed
from epochwise.data.images import RawImages, ReadOptions, check_unpacked_size
from epochwise.data.part_names import CLASS_NAMES, role_of, without_part

IDX_FILES = (  # in the order of `Images`
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
GZIP_MAGIC = b"\x1f\x8b"
TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}  # by the third byte
UINT8 = 0x08
Roles = tuple[str, str]  # of a file: train or test or "", and images or labels


@dataclass(frozen=True)
class IdxFolder:
    """The IDX files of one data set in a folder: images and labels, of a training and mostly of a test set."""

    folder: Path
    by_role: dict[Roles, Path]
    unused: tuple[Path, ...] = ()

    @staticmethod
    def find(folder: Path, entries: list[Path]) -> "IdxFolder | None":
        """The IDX files among the files `entries` of a folder; None if there are none.

        Raises InputError if they are not one data set of images with labels.
        """
        found = [path for path in entries if is_idx(path) or re.search(r"idx\d", path.name, re.IGNORECASE)]
        if not found:
            return None
        by_role: dict[Roles, list[Path]] = defaultdict(list)
        for path in found:
            by_role[_role(path)].append(path)
        tests = any(part == "test" for part, _ in by_role)
        named = tests or any(
            part == "train" for part, _ in by_role
        )  # then files without such a word are something else
        wanted = (_TRAIN if named else _ALONE) + (_TEST if tests else ())
        _check_complete(folder, wanted, found, by_role)
        used = {role: _one_of(folder, by_role[role]) for role in wanted}
        others = [path for role, paths in by_role.items() if role not in used for path in paths]
        unused = (path for path in entries if (path not in found or path in others) and path.name != CLASS_NAMES)
        return IdxFolder(folder, used, tuple(unused))

    @property
    def files(self) -> list[Path]:
        """The files in the order of IDX_FILES."""
        return list(self.by_role.values())

    def read(self, options: ReadOptions) -> RawImages:
        arrays = {role: read_idx(path) for role, path in self.by_role.items()}
        notes = [f"{self.folder.name} also holds {listed(path.name for path in self.unused)}: not used"]
        x_train, y_train = _pair(arrays, "" if ("", "images") in arrays else "train")
        x_test, y_test = _pair(arrays, "test") if ("test", "images") in arrays else (None, None)
        return RawImages(x_train, y_train, x_test, y_test, notes=notes if self.unused else [])


_ALONE: tuple[Roles, ...] = (("", "images"), ("", "labels"))
_TRAIN: tuple[Roles, ...] = (("train", "images"), ("train", "labels"))
_TEST: tuple[Roles, ...] = (("test", "images"), ("test", "labels"))


def is_idx(path: Path) -> bool:
    """Whether a file, gzipped or not, begins as an IDX file does."""
    try:
        with open_unzipped(path) as stream:
            start = stream.read(4)
    except (OSError, EOFError, zlib.error):
        return False
    return len(start) == 4 and start[:2] == b"\0\0" and start[2] in TYPES and 1 <= start[3] <= 4


def open_unzipped(path: Path) -> BinaryIO:
    """The content of a file, unpacked if its first bytes say that it is gzipped."""
    with open(path, "rb") as stream:
        zipped = stream.read(2) == GZIP_MAGIC
    return cast(BinaryIO, gzip.open(path)) if zipped else open(path, "rb")


def read_idx(path: Path) -> np.ndarray:
    """The array in an IDX file, gzipped or not. Raises InputError for any other content."""
    try:
        with open_unzipped(path) as stream:
            start = stream.read(4)
            zeros, value_type, dimensions = struct.unpack(">HBB", start)
            if zeros or value_type not in TYPES:
                raise InputError(f"prepare.source: {path} is not a readable IDX file (it starts {start.hex()})")
            values = np.dtype(TYPES[value_type])
            shape = struct.unpack(f">{dimensions}I", stream.read(4 * dimensions))
            size = math.prod(shape) * values.itemsize
            check_unpacked_size(path, size)
            content = stream.read(size)
            # One byte shows that there is more. The rest is not read: a small gzip file can unpack to any size.
            more = len(content) == size and bool(stream.read(1))
    except (OSError, EOFError, MemoryError, zlib.error, struct.error) as error:
        reason = str(error) or type(error).__name__
        raise InputError(f"prepare.source: {path} is not a readable IDX file ({reason})") from error
    if more or len(content) != size or not 1 <= dimensions <= 4:
        found = "more" if more else len(content)
        raise InputError(f"prepare.source: {path} is truncated or torn: {found} bytes of data for the shape {shape}")
    return np.frombuffer(content, values).reshape(shape)


def to_idx(values: np.ndarray) -> bytes:
    """The content of an IDX file that holds a uint8 array."""
    return struct.pack(f">HBB{values.ndim}I", 0, UINT8, values.ndim, *values.shape) + values.tobytes()


def _pair(arrays: dict[Roles, np.ndarray], part: str) -> tuple[np.ndarray, np.ndarray]:
    return arrays[part, "images"], arrays[part, "labels"]


def _role(path: Path) -> Roles:
    """The part and the kind that a file's name says; a name without a kind leaves that to the dimensions."""
    role = role_of(path.name)
    kind = role.kind or ("images" if len(_shape(path)) > 1 else "labels")
    return role.part or "", kind


def _shape(path: Path) -> tuple[int, ...]:
    try:
        with open_unzipped(path) as stream:
            dimensions = stream.read(4)[3]
            return struct.unpack(f">{dimensions}I", stream.read(4 * dimensions))
    except (OSError, EOFError, IndexError, zlib.error, struct.error):
        return ()  # `read_idx` says what is wrong


def _one_of(folder: Path, paths: list[Path]) -> Path:
    """The file of one role: one of several that differ in `.gz` only, the unpacked one. Raises InputError."""
    plain = sorted(paths, key=lambda path: (path.suffix.lower() == ".gz", path.name))
    if len({path.name.lower().removesuffix(".gz") for path in paths}) == 1:
        return plain[0]
    kinds = sorted({re.split(r"[-_.]*(images|labels)", without_part(path.name))[0].strip("-_. ") for path in paths})
    raise InputError(
        f"prepare.source: {folder} holds several data sets, or files whose names do not say what they are: "
        f"{listed(path.name for path in plain)}. Put the four files of one into a folder of their own"
        + (f" (mkdir one; mv {kinds[0]}* one)" if len(kinds) > 1 and kinds[0] else f", named {', '.join(IDX_FILES)}")
    )


def _check_complete(
    folder: Path, wanted: tuple[Roles, ...], found: list[Path], by_role: dict[Roles, list[Path]]
) -> None:
    """Raise InputError unless each of the wanted roles has a file."""
    missing = [name for name, role in zip(IDX_FILES, wanted, strict=False) if role not in by_role]
    if missing:
        raise InputError(
            f"prepare.source: {folder} has no {missing[0]} (or .gz) among its IDX files "
            f"({listed(path.name for path in found)}); an IDX folder holds {', '.join(IDX_FILES)}, or names with the "
            "words train, test, images, labels"
        )
