"""Arrays of NumPy: an `.npz`, or a folder of `.npy` files, whose names say which array is what."""

import zipfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from epochwise.common.errors import InputError, one_line
from epochwise.common.wording import listed
from epochwise.data.images import Images, RawImages, ReadOptions, check_unpacked_size
from epochwise.data.part_names import Role, role_of

WANTED = "x_train, y_train, x_test, y_test (or train_images, train_labels, test_images, test_labels)"


@dataclass(frozen=True)
class NpzFile:
    """A user's .npz. Pickled objects in it are never loaded, because unpickling runs code."""

    path: Path

    @property
    def files(self) -> list[Path]:
        return [self.path]

    def read(self, options: ReadOptions) -> RawImages:
        """Raises InputError if the file is damaged, or if the names of its arrays do not say what they are."""
        try:
            with zipfile.ZipFile(self.path) as members:
                check_unpacked_size(self.path, sum(member.file_size for member in members.infolist()))
            with np.load(self.path, allow_pickle=False) as archive:
                return _arranged(list(archive.files), archive.__getitem__, self.path)
        except InputError:
            raise
        except Exception as error:  # zip, deflate, header and memory errors, because a file can claim anything
            raise _unreadable(self.path, error) from error


@dataclass(frozen=True)
class NpyFolder:
    """A folder of .npy files, or of .npz files with one array each, as KMNIST comes."""

    folder: Path
    files: list[Path]

    @staticmethod
    def find(folder: Path, entries: list[Path]) -> "NpyFolder | None":
        """The arrays among the files `entries` of a folder; None if there are no images with labels."""
        files = [path for path in entries if path.suffix.lower() in (".npy", ".npz")]
        kinds = {role_of(path.stem).kind for path in files}
        return NpyFolder(folder, files) if {"images", "labels"} <= kinds else None

    def read(self, options: ReadOptions) -> RawImages:
        """Raises InputError if a file is damaged, or if the names of the files do not say what they are."""
        by_name: dict[str, Path] = {}
        for path in self.files:
            other = by_name.setdefault(path.stem, path)
            if other is not path:
                raise InputError(
                    f"prepare.source: {self.folder} holds {other.name} and {path.name}, which may be the same array or "
                    "not; keep one"
                )
        check_unpacked_size(self.folder, sum(path.stat().st_size for path in self.files))
        return _arranged(list(by_name), lambda name: _read_one(by_name[name]), self.folder)


def _read_one(path: Path) -> np.ndarray:
    try:
        if path.suffix.lower() == ".npz":
            with zipfile.ZipFile(path) as members:
                check_unpacked_size(path, sum(member.file_size for member in members.infolist()))
            with np.load(path, allow_pickle=False) as archive:
                if len(archive.files) != 1:
                    raise InputError(
                        f"prepare.source: {path} holds {len(archive.files)} arrays ({listed(archive.files)}), where "
                        "each file of a folder holds one; name this file itself as the source, or move it away"
                    )
                return np.asarray(archive[archive.files[0]])
        return np.asarray(np.load(path, allow_pickle=False))
    except InputError:
        raise
    except Exception as error:  # as in NpzFile.read
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> InputError:
    reason = one_line(error) or type(error).__name__
    if "allow_pickle" in reason:
        reason = (
            "it holds pickled objects, which are never loaded; save arrays of numbers: images of one size, labels; or "
            "labels as text: y.astype(str)"
        )
    kind = "npy" if path.suffix.lower() == ".npy" else "npz"
    return InputError(f"prepare.source: {path} is not a readable .{kind} of plain arrays ({reason})")


def _arranged(names: list[str], load: Callable[[str], np.ndarray], path: Path) -> RawImages:
    """The arrays by their roles. Raises InputError if one is missing, or if two names claim the same role."""
    by_role: dict[Role, list[str]] = defaultdict(list)
    for name in names:
        by_role[role_of(name)].append(name)
    train = "train" if Role("train", "images") in by_role or Role(None, "images") not in by_role else None
    wanted = [Role(train, "images"), Role(train, "labels")]
    tests = [Role("test", "images"), Role("test", "labels")]
    if any(role in by_role for role in tests):
        wanted += tests
    x_train, y_train, *test = (_array(role, by_role, load, path) for role in wanted)
    taken = [by_role[role][0] for role in wanted]
    named_by, class_names = _class_names(by_role, taken, load)
    unused = [name for name in names if name not in (*taken, named_by)]
    usual = list(Images._fields[: len(taken)])
    x_test, y_test = test or (None, None)
    return RawImages(
        *(x_train, y_train, x_test, y_test),
        class_names=class_names,
        names_from=f"{named_by} in {path}" if named_by else "",
        conversions=[] if taken == usual else [f"{', '.join(taken)} taken as {', '.join(usual)}"],
        notes=[f"{path.name} also holds {listed(unused)}: not used"] if unused else [],
    )


def _array(role: Role, by_role: dict[Role, list[str]], load: Callable[[str], np.ndarray], path: Path) -> np.ndarray:
    names = by_role.get(role, [])
    if len(names) == 1:
        values = load(names[0])
        if isinstance(values, np.ndarray):
            return values
        raise InputError(f"prepare.source: {names[0]} in {path} is no array")
    found = listed([name for others in by_role.values() for name in others], most=8) or "nothing"
    letter = "x" if role.kind == "images" else "y"
    if names:
        raise InputError(f"prepare.source: {path} holds {' and '.join(names)}, which both name {role.kind}; keep one")
    raise InputError(
        f"prepare.source: {path} lacks {letter}_{role.part or 'train'}; it holds {found}, and must hold {WANTED}: "
        "np.savez(path, x_train=…, y_train=…, x_test=…, y_test=…)"
    )


def _class_names(
    by_role: dict[Role, list[str]], taken: list[str], load: Callable[[str], np.ndarray]
) -> tuple[str | None, list[str]]:
    """The name of the array of text that names the classes, and what it holds; None and nothing without one."""
    for name in (*by_role.get(Role(None, "names"), []), *by_role.get(Role(None, "labels"), [])):
        if name not in taken:
            try:
                values = load(name)
            except ValueError:  # pickled objects, which are not needed
                continue
            if values.dtype.kind in "US" and values.ndim == 1:
                return name, [str(text).strip() for text in values.astype(str)]
    return None, []
