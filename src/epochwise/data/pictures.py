"""Folders of pictures: a folder a class, below `train/` and `test/` or, with `prepare.test_size`, at the top.

All pictures of a source have one size, unless `prepare.image_size` resizes them. They are grey if all of them are, else
they have three colours.
"""

import io
import os
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from epochwise.common.errors import InputError, one_line
from epochwise.common.wording import counted, listed
from epochwise.data.decode import WHITE_8_BITS, WHITE_16_BITS, Decoded, decode
from epochwise.data.images import MAX_BYTES, RawImages, ReadOptions
from epochwise.data.part_names import CLASS_NAMES, PARTS, other_words, role_of
from epochwise.data.pixels import size_text

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP")  # Pillow's names
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pbm", ".pgm", ".ppm", ".pnm", ".tif", ".tiff", ".webp")
NO_DATA = {"thumbs.db", "desktop.ini", "__macosx"}  # what systems put into folders, besides names with a dot first
MAX_PIXELS = 50_000_000  # of one picture
PHONE_JPEG = "MPO"  # Pillow's name for a JPEG that holds a depth map or a smaller copy as its next frames
ABBREVIATIONS = {"tr", "te"}  # of parts, which are languages and much else, too
Classes = dict[str, list[Path]]  # the pictures of each class, both in order


@dataclass(frozen=True)
class PictureFolder:
    """A folder with pictures of a training set and maybe of a test set, by class."""

    root: Path
    train: Classes
    test: Classes | None
    notes: list[str] = field(default_factory=list)

    @staticmethod
    def find(root: Path, folders: list[Path]) -> "PictureFolder | None":
        """The pictures in the `folders` of a folder; None if there are none. Raises InputError if in doubt."""
        parts = {part: _parts(folders, part) for part in ("train", "test", "validation")}
        for part, found in parts.items():
            if len(found) > 1 and parts["train"]:
                raise InputError(
                    f"prepare.source: {root} has {' and '.join(path.name for path in found)}; one is {part}/"
                )
        if not parts["train"]:
            _refuse_what_is_no_class(root, folders)
            classes, notes = _classes(root)
            return PictureFolder(root, classes, None, notes) if classes else None
        used = [parts["train"][0], *parts["test"]]
        for folder in used:
            _refuse_what_is_no_class(folder, visible(folder)[0])
        train, notes = _classes(used[0])
        if not train:
            return None
        test = None
        if parts["test"]:
            test, more = _test_classes(used[1], train)
            notes += more
        others = [path.name for path in (*folders, *visible(root)[1]) if path not in used and path.name != CLASS_NAMES]
        if others:
            notes.append(f"{root.name} also holds {listed(others)}: not used")
        return PictureFolder(root, train, test, notes)

    @property
    def files(self) -> list[Path]:
        return [path for part in (self.train, self.test or {}) for paths in part.values() for path in paths]

    def read(self, options: ReadOptions) -> RawImages:
        """Raises InputError if a picture cannot be read, or if they have several sizes and none is asked for."""
        reading = _Reading(self.root, options)
        names = list(self.train)
        x_train, y_train = reading.part(self.train, names)
        x_test, y_test = reading.part(self.test, names) if self.test is not None else (None, None)
        reading.check()
        if x_test is not None and x_test.shape[-1] != x_train.shape[-1]:
            x_train, x_test = _in_colour(x_train), _in_colour(x_test)
        return RawImages(
            *(x_train, y_train, x_test, y_test),
            class_names=names,
            has_white_at_255=True,
            conversions=reading.conversions(),
            notes=self.notes,
        )


class _Reading:
    """The reading of all pictures of a source: what was found on the way, and what is wrong with some of them."""

    def __init__(self, root: Path, options: ReadOptions) -> None:
        self.root, self.options = root, options
        self.sizes: Counter[tuple[int, int]] = Counter()  # H, W
        self.broken: list[str] = []
        self.pictures, self.grey, self.transparent, self.turned = 0, 0, 0, 0
        self.of_16_bits: list[int] = []  # the largest value of each such picture

    def part(self, classes: Classes, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """The pictures as uint8 N×H×W×C, and the place of their class in `names`. `check` says what is wrong."""
        files = [(path, names.index(name)) for name, paths in classes.items() for path in paths]
        images = np.empty((0, 1, 1, 1), np.uint8)
        for number, (path, _) in enumerate(files):
            image = self._picture(path)
            if image is None or len(self.sizes) > 1 and not self.options.image_size:
                continue
            if not images.size:
                self._check_memory(len(files), image.shape)
                images = np.empty((len(files), *image.shape), np.uint8)
            if image.shape[-1] > images.shape[-1]:
                images = _in_colour(images)
            images[number] = image
        return images, np.array([label for _, label in files], np.int64)

    def check(self) -> None:
        """Raise InputError with all pictures that cannot be read, or with all sizes that there are."""
        if self.broken:
            raise InputError(
                f"prepare.source: {self.root}: {len(self.broken)} of {counted(self.pictures, 'picture')} cannot be read"
                f": {listed(self.broken, 3)}; replace or remove them"
            )
        if len(self.sizes) > 1 and not self.options.image_size:
            sizes = [f"{counted(number, 'picture')} of {size_text(size)}" for size, number in self.sizes.most_common()]
            way = f"give them one size, or have them resized: prepare.image_size={_usual_side(self.sizes)}"
            raise InputError(
                f"prepare.source: {self.root} has pictures of {len(self.sizes)} sizes (height×width): "
                f"{listed(sizes, 4)}; {way}"
            )

        if self.of_16_bits and not self.options.pixel_max and max(self.of_16_bits) < WHITE_16_BITS / 2:
            raise InputError(
                f"prepare.source: {self.root} has pictures of 16 bits with {max(self.of_16_bits)} as their largest "
                f"value, where white is {WHITE_16_BITS}; state what white is: prepare.pixel_max=4095 for 12 bits, or "
                f"prepare.pixel_max={WHITE_16_BITS} if they are that dark"
            )

    def conversions(self) -> list[str]:
        """What was changed, a phrase each."""
        changes = []
        side = self.options.image_size
        if side and set(self.sizes) != {(side, side)}:
            sizes = listed((size_text(size) for size, _ in self.sizes.most_common()), 3)
            changes.append(f"pictures resized from {sizes} to {side}×{side}")
        if 0 < self.grey < self.pictures:
            changes.append(f"{self.grey:,} of {self.pictures:,} pictures are grey: given three equal colours")
        if self.transparent:
            changes.append(f"{counted(self.transparent, 'picture')} with transparent parts put on white")
        if self.turned:
            changes.append(f"{counted(self.turned, 'picture')} turned as the EXIF data says")
        white = self.options.pixel_max
        if 0 < white <= WHITE_8_BITS:
            changes.append(f"pixels 0…{white:g} scaled to 0…255")
        elif self.of_16_bits:
            values = f" with pixels 0…{white:g}" if white else ""
            changes.append(f"{counted(len(self.of_16_bits), 'picture')} of 16 bits{values} scaled to 0…255")
        if white > WHITE_8_BITS and len(self.of_16_bits) < self.pictures:
            of_8_bits = counted(self.pictures - len(self.of_16_bits), "picture")
            changes.append(f"{of_8_bits} of 8 bits kept as they are, for {white:g} cannot be white in them")
        return changes

    def _picture(self, path: Path) -> np.ndarray | None:
        """A picture as uint8 H×W×C with white at 255; None, with the reason noted, if it cannot be read."""
        self.pictures += 1
        try:
            decoded = _decode(path.read_bytes(), self.options.pixel_max)
        except Exception as error:  # Pillow's decoders raise errors of many types, because a file can hold anything
            reason = "not a picture" if isinstance(error, UnidentifiedImageError) else one_line(error)
            self.broken.append(f"{path.relative_to(self.root)} ({reason or type(error).__name__})")
            return None
        picture = decoded.picture
        self.grey += picture.mode == "L"
        self.turned += decoded.turned
        self.transparent += decoded.transparent
        self.of_16_bits += [] if decoded.largest_of_16_bits is None else [decoded.largest_of_16_bits]
        self.sizes[picture.height, picture.width] += 1
        side = self.options.image_size
        if side and picture.size != (side, side):
            picture = picture.resize((side, side), Image.Resampling.BILINEAR)
        return np.atleast_3d(np.asarray(picture))

    def _check_memory(self, number: int, shape: tuple[int, ...]) -> None:
        size = number * int(np.prod(shape))
        if size > MAX_BYTES:
            raise InputError(
                f"prepare.source: {self.root}: {counted(number, 'picture')} of {size_text(shape)} take "
                f"{size / 2**30:.1f} GiB; {MAX_BYTES // 2**30} GiB are the most. prepare.image_size=64 resizes them"
            )


def visible(folder: Path) -> tuple[list[Path], list[Path]]:
    """The folders and the files in a folder, by name, without what is hidden or was put there by a system."""
    try:
        with os.scandir(folder) as entries:  # which knows what is a folder without a look at each entry
            kept = [entry for entry in entries if entry.name[0] != "." and entry.name.lower() not in NO_DATA]
            kept.sort(key=lambda entry: entry.name)  # paths take five times as long to sort
            folders = [Path(entry.path) for entry in kept if entry.is_dir()]
            files = [Path(entry.path) for entry in kept if entry.is_file() or _leads_nowhere(entry)]
    except OSError as error:
        raise InputError(f"prepare.source: {folder} is not readable ({error.strerror})") from error
    return folders, files


def _leads_nowhere(entry: os.DirEntry[str]) -> bool:
    """Whether an entry of a folder is a link to something that is gone: a file that cannot be read."""
    return entry.is_symlink() and not os.path.exists(entry.path)


def is_picture(path: Path) -> bool:
    """Whether a file is named as a picture is."""
    return path.name.lower().endswith(SUFFIXES)


def _refuse_what_is_no_class(root: Path, folders: list[Path]) -> None:
    """Raise InputError if folders are named as parts of a data set or as what is in it: they would be its classes.

    Names that differ in another word are those of classes (`test_tube`, `train_station`), and so are single letters.
    """
    names = [path.name for path in folders if any(map(is_picture, visible(path)[1]))]
    roles = [role_of(name) for name in names if len(name) > 1]
    parts = [name for name in names if role_of(name).part]
    named_in_full = {name.lower() for name in names} - ABBREVIATIONS
    if named_in_full & PARTS["train"] and named_in_full & PARTS["test"]:
        raise _parts_without_classes(root, parts)
    if not names or len(roles) < len(names) or not all(map(any, roles)) or len(set(map(other_words, names))) > 1:
        return
    if {"images", "labels"} <= {role_of(path.name).kind for path in folders}:
        raise InputError(
            f"prepare.source: {root} has folders of images and of labels ({listed(path.name for path in folders)}), "
            "which are no classes; put the images into folders by class"
        )
    if parts:
        raise _parts_without_classes(root, parts)


def _parts_without_classes(root: Path, parts: list[str]) -> InputError:
    return InputError(
        f"prepare.source: {root} has pictures without classes in {listed(parts)}; put them into folders by class, "
        f"such as {parts[0]}/CLASS/…, or make a CSV or .npz that holds the labels"
    )


def _parts(folders: list[Path], part: str) -> list[Path]:
    """The folders that are called as that part is and hold folders, which a class does not."""
    return [path for path in folders if role_of(path.name).part == part and visible(path)[0]]


def _classes(folder: Path, may_lack_classes: bool = False) -> tuple[Classes, list[str]]:
    """The pictures of each class, and what is not used. Raises InputError if a class has no pictures, or folders.

    Nothing is returned if there are no pictures where those of classes are.
    """
    folders, outside = visible(folder)
    classes: Classes = {}
    others = [file.name for file in outside if not is_picture(file) and file.name != CLASS_NAMES]
    nested: list[Path] = []
    deeper: list[str] = []
    for path in folders:
        inside, files = visible(path)
        classes[path.name] = [file for file in files if is_picture(file)]
        others += [f"{path.name}/{file.name}" for file in files if not is_picture(file)]
        nested += [each for each in inside if any(is_picture(file) for file in visible(each)[1])]
        deeper += [f"{path.name}/{each.name}" for each in inside if each not in nested]
    # A single folder is that of an archive, more likely than a class.
    if nested and (may_lack_classes or len(folders) > 1 or any(classes.values())):
        raise InputError(
            f"prepare.source: {folder} has pictures two folders deep, such as in {nested[0].relative_to(folder)}/; "
            "each class is one folder of pictures. Move them up into it, or name the folder that holds the classes"
        )
    if not any(classes.values()):
        return {}, []
    empty = [name for name, files in classes.items() if not files]
    if empty and not may_lack_classes:
        raise InputError(
            f"prepare.source: {folder} has no pictures in {listed(empty)} ({', '.join(SUFFIXES[:4])} …); "
            "each folder in there is a class: fill or remove it"
        )
    unused = {
        "pictures outside of classes": [file.name for file in outside if is_picture(file)],
        "files that are no pictures": others,
        "folders inside of classes": deeper,
    }
    notes = [f"{folder.name} also holds {what} ({listed(some, 3)}): not used" for what, some in unused.items() if some]
    return {name: classes[name] for name in _in_order([name for name in classes if classes[name]])}, notes


def _test_classes(folder: Path, train: Classes) -> tuple[Classes, list[str]]:
    """The test pictures of each class, and what is not used.

    Raises InputError if there are none, or if a class has test pictures, but no training pictures.
    """
    test, notes = _classes(folder, may_lack_classes=True)
    if not test:
        raise InputError(
            f"prepare.source: {folder} has no pictures in {listed(path.name for path in visible(folder)[0])}; fill it, "
            "or remove it and state prepare.test_size, which splits a test set off"
        )
    unknown = [f"{name} ({counted(len(files), 'picture')})" for name, files in test.items() if name not in train]
    if unknown:
        raise InputError(
            f"prepare.source: {folder.parent} has classes for testing that it does not train on: {listed(unknown)}; it "
            f"trains on {listed(train)}. A class has the same name in both"
        )
    return test, notes


def _in_order(names: list[str]) -> list[str]:
    """Names in the order of the alphabet; numbers in that of their size."""
    return sorted(names, key=int) if all(name.isdecimal() for name in names) else sorted(names)


def _decode(content: bytes, pixel_max: float) -> Decoded:
    """Raises ValueError, and what Pillow's decoders raise, if `content` is no single picture of at most 16 bits."""
    with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(content), formats=FORMATS) as opened:
        if opened.width * opened.height > MAX_PIXELS:
            raise ValueError(f"{opened.width}×{opened.height} pixels; {MAX_PIXELS:,} are the most")
        frames = getattr(opened, "n_frames", 1)
        if frames > 1 and opened.format != PHONE_JPEG:
            raise ValueError(f"{frames} frames; give one picture a file")
        return decode(opened, pixel_max)


def _in_colour(images: np.ndarray) -> np.ndarray:
    """Grey images N×H×W×1 with three equal channels; others as they are."""
    return np.repeat(images, 3, axis=3) if images.shape[-1] == 1 else images


def _usual_side(sizes: Counter[tuple[int, int]]) -> int:
    """A side to resize to: the shorter one of the most frequent size, 128 at most."""
    return min(*sizes.most_common(1)[0][0], 128)
