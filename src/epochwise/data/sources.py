"""Where images come from: a public data set by its name, scikit-learn's digits, or a path of the user's."""

import functools
import hashlib
import os
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from epochwise.common.errors import InputError, one_line
from epochwise.common.files import file_digest
from epochwise.common.paths import find_root, main_root
from epochwise.common.wording import counted, listed
from epochwise.data.downloads import DATASETS, fetch_dataset
from epochwise.data.idx import IDX_FILES, read_idx
from epochwise.data.images import Images, RawImages, ReadOptions, Source, SourceShape
from epochwise.data.labels import ClassNames, to_labels
from epochwise.data.own_files import KINDS, Reader, reader_of
from epochwise.data.part_names import CLASS_NAMES
from epochwise.data.pixels import to_pixels
from epochwise.data.split import split_off_test

DATA_SUFFIX = r"\.(npz|csv|tsv)(\.gz)?$"
SMALL = 2**20  # bytes of a file that is hashed at once
DIGITS = "digits"  # bundled with scikit-learn, so it needs no network
DIGITS_SHAPE = SourceShape(train_images=1_500, image=(8, 8, 1), classes=10, smallest_class=146)
EMNIST_SIZES = {(124_800, 20_800), (88_800, 14_800), (112_800, 18_800), (240_000, 40_000), (697_932, 116_323)}


def is_named(source: str) -> bool:
    """Whether `source` is the name of a known data set, and not a path."""
    return source == DIGITS or source in DATASETS


def load_source(source: str, cache: Path, options: ReadOptions) -> Source:
    """The labelled images of `source`: `mnist`, `fashion_mnist`, `digits`, or a path of the user's.

    Downloads are kept in the folder `cache`. Raises InputError if the source is unknown, cannot be fetched, does not
    hold labelled images of which it is certain what they are, or changes while it is read.
    """
    content = content_identity(source)
    if is_named(source):
        names = list(DATASETS[source].class_names) if source in DATASETS else []
        return _fit(RawImages(*load_images(source, cache), class_names=names), source, options, CLASS_NAMES, content)
    path = _find_path(source)
    reader = reader_of(path)
    raw, named_in = reader.read(options), _names_file(path)
    if named_in.is_file():
        raw = _named_by_file(raw, named_in)
    check_content(source, content)
    read = _fit(raw, str(path), options, str(named_in), content)
    return replace(read, notes=[*read.notes, *_own_notes(reader, path, read, options)])


def load_images(name: str, cache: Path) -> Images:
    """The images of a data set that is known by its name, as published. Raises InputError if it cannot be fetched."""
    if name == DIGITS:
        return _load_digits()
    folder = fetch_dataset(name, cache / name)
    x_train, y_train, x_test, y_test = (read_idx(folder / file) for file in IDX_FILES)
    return Images(x_train[..., None], y_train.astype(np.int64), x_test[..., None], y_test.astype(np.int64))


def shape_of_named(name: str, options: ReadOptions) -> SourceShape:
    """The sizes of a data set that is known by its name, without a download. Raises InputError for a test size."""
    _check_not_split(name, options)
    shape = DIGITS_SHAPE if name == DIGITS else DATASETS[name].shape
    height, width, channels = shape.image
    if options.image_size:
        height = width = options.image_size
    return replace(shape, image=(width, height, channels) if options.transpose else (height, width, channels))


def content_identity(source: str) -> str:
    """What identifies the content of `source`: its name, or the sha256 of a path's files. Raises InputError."""
    if is_named(source):
        return source
    path = _find_path(source)
    base, named_in = path if path.is_dir() else path.parent, _names_file(path)
    try:
        files = [*reader_of(path).files, *([named_in] if named_in.is_file() else [])]
        return _content_sha256(tuple((str(file), *_state(file)) for file in files), str(base))
    except OSError as error:
        raise InputError(f"prepare.source: {path} is not readable ({one_line(error)})") from error


def check_content(source: str, content: str) -> None:
    """Raise InputError if `source` has other content than that which is identified by `content`."""
    if content_identity(source) != content:
        raise changed(source)


def changed(source: str) -> InputError:
    """The refusal of a source that is being written."""
    return InputError(f"prepare.source: {source} changed while it was read; run this again when it is complete")


def _state(path: Path) -> tuple[int, int, int, int]:
    """What changes when a file does; zeros for a link to nothing, which the reader names among what it cannot read."""
    try:
        state = os.stat(path)
    except FileNotFoundError:
        return 0, 0, 0, 0
    return state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


@functools.lru_cache(maxsize=64)
def _content_sha256(files: tuple[tuple[str, int, int, int, int], ...], base: str) -> str:
    """SHA-256 over the names and contents of files. They are read again when an inode, a size or a time has changed."""
    content = hashlib.sha256()
    for name, inode, size, *_ in files:
        if not inode:
            digest = "missing"
        elif size > SMALL:
            digest = file_digest(Path(name))
        else:  # as most pictures are; the buffer of `file_digest` takes longer to make than these to read
            with open(name, "rb", buffering=0) as stream:
                digest = hashlib.sha256(stream.read()).hexdigest()
        content.update(f"{name.removeprefix(base)}\0{digest}\n".encode(errors="surrogateescape"))
    return content.hexdigest()


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
    raise InputError(f"prepare.source: no file or folder {source!r}; give {names}, or {KINDS}")


def _names_file(path: Path) -> Path:
    """The file that names the classes of a path of the user's, or would if there is none.

    In a folder it is CLASS_NAMES. Beside a file, whose folder may hold other data, one that begins as the file goes
    before CLASS_NAMES.
    """
    if path.is_dir():
        return path / CLASS_NAMES
    own = path.with_name(f"{re.sub(DATA_SUFFIX, '', path.name, flags=re.IGNORECASE)}.{CLASS_NAMES}")
    return path.with_name(CLASS_NAMES) if path.with_name(CLASS_NAMES).is_file() and not own.is_file() else own


def _named_by_file(raw: RawImages, path: Path) -> RawImages:
    """The images with the names of classes in a file, a line each. Raises InputError if the file is not readable.

    Classes that have a name already, as folders have, keep their order if the file names the same in another order.
    """
    try:
        names = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable as UTF-8 text ({error})") from error
    own, change = raw.class_names, f"class names taken from {path.name}"
    if not names:
        raise InputError(f"{path}: is empty; it names each class once")
    if own and own != names:
        if sorted(names) == sorted(own):
            names, change = own, f"{path.name} has another order than the classes ({listed(own)}), and is not used"
        elif len(names) == len(own):
            _check_not_exchanged(own, names, path)
            change += f": {listed(f'{one} → {other}' for one, other in zip(own, names, strict=True) if one != other)}"
    return replace(raw, class_names=names, names_from=str(path), conversions=[*raw.conversions, change])


def _check_not_exchanged(own: list[str], names: list[str], path: Path) -> None:
    """Raise InputError if a class would get the name of another: then the names are in another order, or misspelled."""
    known = {name.casefold() for name in own}
    for one, other in zip(own, names, strict=True):
        if other.casefold() in known - {one.casefold()}:
            raise InputError(
                f"{path}: would call {one} {other}, which is another class; write the names in the order {listed(own)}"
            )


def _check_names(names: list[str], where: str) -> None:
    """Raise InputError if two classes have the same name, or one has none."""
    twice = [name for name, number in Counter(names).items() if number > 1]
    if twice or "" in names:
        problem = f"names {listed(twice)} twice" if twice else "has an empty name"
        raise InputError(f"{where}: {problem}; it names each class once")


def _fit(raw: RawImages, where: str, options: ReadOptions, named_in: str, content: str) -> Source:
    """The images in the form in which they are prepared, with a test set. Raises InputError if that is in doubt."""
    _check_lengths("train", raw.x_train, raw.y_train, where)
    pixel_options = replace(options, pixel_max=255) if raw.has_white_at_255 and options.pixel_max else options
    x_train, conversions = to_pixels(raw.x_train, f"the train images of {where}", pixel_options)
    x_test, y_test, of_test = raw.x_test, raw.y_test, list[str]()
    if x_test is not None and y_test is not None:
        _check_lengths("test", x_test, y_test, where)
        x_test, of_test = to_pixels(x_test, f"the test images of {where}", pixel_options)
        conversions = [change if change in of_test else f"{change} (train)" for change in conversions]
    conversions += [f"{change} (test)" for change in of_test if change not in conversions]
    names_from = raw.names_from or named_in
    _check_names(raw.class_names, names_from)
    labels = to_labels(raw.y_train, y_test, ClassNames(raw.class_names, names_from, named_in), where)
    conversions = [*raw.conversions, *conversions, *labels.conversions]
    if x_test is not None and labels.test is not None:
        _check_not_split(where, options)
        if x_train.shape[1:] != x_test.shape[1:]:
            raise InputError(f"prepare.source: {where} trains on {x_train.shape[1:]} and tests on {x_test.shape[1:]}")
        images = Images(x_train, labels.train, x_test, labels.test)
    else:
        also = f" ({'; '.join(raw.notes)})" if raw.notes else ""
        rest, drawn = split_off_test(labels.train, options.test_size, options.split_seed, f"{where}{also}")
        images = Images(x_train[rest], labels.train[rest], x_train[drawn], labels.train[drawn])
        conversions.append(f"{counted(len(drawn), 'image')} split off as the test set")
    names = [] if labels.class_names == list(map(str, range(len(labels.class_names)))) else labels.class_names
    return Source(images, names, content, conversions, raw.notes)


def _check_not_split(where: str, options: ReadOptions) -> None:
    """Raise InputError if a source that has a test set shall be split."""
    if options.test_size:
        raise InputError(
            f"prepare.test_size must be 0 for {where}, which has a test set of its own, got {options.test_size}"
        )


def _check_lengths(part: str, x: np.ndarray, y: np.ndarray, where: str) -> None:
    """Raise InputError unless there is one label for each image."""
    if x.ndim and y.ndim and len(x) == len(y) and x.size:
        return
    found = f"{part} images of shape {x.shape} with labels of shape {y.shape}"
    last = x.ndim > 2 and y.ndim and x.shape[-1] == len(y)
    way = "the images are along the last axis: np.moveaxis(x, -1, 0)" if last else "give one label for each image"
    raise InputError(f"prepare.source: {where} has {found}; {way}")


def _own_notes(reader: Reader, path: Path, read: Source, options: ReadOptions) -> list[str]:
    """What a user should know of data of their own before they believe its numbers."""
    images, notes = read.images, []
    sizes = (len(images.x_train), len(images.x_test))
    called = [path.parent.name, path.name, *(file.name for file in reader.files[:4])]
    if not options.transpose and (sizes in EMNIST_SIZES or any("emnist" in name.lower() for name in called)):
        notes.append(
            f"{path.name} looks like EMNIST, which is published with rows and columns exchanged: "
            "prepare.transpose=true puts the pictures upright, as your own are"
        )
    channels = images.x_train.shape[3]
    if channels not in (1, 3):
        notes.append(
            f"{channels} channels are kept as they are, but predict reads pictures for models of 1 or 3 channels only"
        )
    untested = np.setdiff1d(images.y_train, images.y_test)
    if len(untested):
        names = [read.class_names[number] if read.class_names else number for number in untested]
        notes.append(f"no test images of {listed(names)}")
    known = {hashlib.blake2b(image, digest_size=16).digest() for image in images.x_train}
    again = sum(hashlib.blake2b(image, digest_size=16).digest() in known for image in images.x_test)
    if again:
        notes.append(f"{again:,} of {len(images.x_test):,} test images are training images, too")
    return notes


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
