"""Where images come from: a public data set by its name, scikit-learn's digits, or a path of the user's."""

import hashlib
from pathlib import Path

import numpy as np

from epochwise.common.errors import InputError
from epochwise.common.files import file_digest
from epochwise.common.paths import find_root, main_root
from epochwise.data.downloads import DATASETS, fetch_dataset
from epochwise.data.idx import idx_paths, read_idx_folder
from epochwise.data.images import Images, SourceShape, check_images
from epochwise.data.npz import read_npz

CLASS_NAMES = "classes.txt"  # beside a user's .npz or in the folder of IDX files: a name a line, in the order of labels
DIGITS = "digits"  # bundled with scikit-learn, so it needs no network
DIGITS_SHAPE = SourceShape(train_images=1_500, image=(8, 8, 1), classes=10, smallest_class=146)


def is_named(source: str) -> bool:
    """Whether `source` is the name of a known data set, and not a path."""
    return source == DIGITS or source in DATASETS


def load_images(source: str, cache: Path) -> Images:
    """The images of `source`: `mnist`, `fashion_mnist`, `digits`, or the path of an .npz or of a folder of IDX files.

    Downloads are kept in the folder `cache`. Raises InputError if the source is unknown, cannot be fetched, or does not
    hold labelled images.
    """
    if source == DIGITS:
        return _load_digits()
    if source in DATASETS:
        return read_idx_folder(fetch_dataset(source, cache / source))
    path = _find_path(source)
    return check_images(read_idx_folder(path) if path.is_dir() else read_npz(path), path)


def shape_of(source: str, cache: Path) -> SourceShape:
    """The sizes of `source`, without a download. Raises InputError as `load_images` does."""
    if source == DIGITS:
        return DIGITS_SHAPE
    if source in DATASETS:
        return DATASETS[source].shape
    images = load_images(source, cache)
    counts = np.bincount(images.y_train)
    return SourceShape(len(images.x_train), images.x_train.shape[1:], len(counts), int(counts.min()))


def content_identity(source: str) -> str:
    """What identifies the content of `source`: its name, or the sha256 of a path's files. Raises InputError."""
    if is_named(source):
        return source
    path = _find_path(source)
    files = [*idx_paths(path), *_names_file(path)] if path.is_dir() else [path, *_names_file(path)]
    return hashlib.sha256("".join(file_digest(file) for file in files).encode()).hexdigest()


def class_names(source: str, classes: int) -> list[str]:
    """The names of the classes of `source`, in the order of their labels; empty if it has none.

    Raises InputError if CLASS_NAMES is not readable or does not name each class once.
    """
    if is_named(source):
        return list(DATASETS[source].class_names) if source in DATASETS else []
    for path in _names_file(_find_path(source)):
        try:
            names = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: not readable as UTF-8 text ({error})") from error
        if len(names) != classes or len(set(names)) != classes:
            found = f"{len(names)} names, {len(set(names))} of them different"
            raise InputError(
                f"{path}: holds {found}; it must hold one for each of the {classes} classes, a name a line"
            )
        return names
    return []


def _names_file(path: Path) -> list[Path]:
    """The file with class names that belongs to a path of the user's, if there is one."""
    file = (path if path.is_dir() else path.parent) / CLASS_NAMES
    return [file] if file.is_file() else []


def _find_path(source: str) -> Path:
    """A path of the user's. A relative one starts at the project's root, where params.yaml is.

    What git does not track is not in the copies of the project that DVC makes, so it is also looked for in the main
    checkout.
    """
    try:
        for root in (find_root(), main_root()):
            path = root / Path(source).expanduser()
            if path.is_file() or path.is_dir():
                return path
    except (OSError, RuntimeError, TypeError, ValueError):  # too long a name, an unknown user's home, a NUL, a number
        pass
    names = ", ".join([*DATASETS, DIGITS])
    raise InputError(f"prepare.source: no file or folder {source!r}; give {names}, an .npz or a folder of IDX files")


def _load_digits() -> Images:
    """The 1,797 digits of scikit-learn, 8×8, with grey values 0…16 stretched to 0…255.

    The last 297 are the test set. The digits are in the order of collection, so most writers of these are new.
    """
    from sklearn.datasets import load_digits  # here because scikit-learn takes long to import

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = digits.target.astype(np.int64)
    train = DIGITS_SHAPE.train_images
    return Images(pixels[:train], labels[:train], pixels[train:], labels[train:])
