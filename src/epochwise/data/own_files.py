"""Which reader a path of the user's needs: found by what is in the files, or in the folder."""

import re
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from epochwise.common.errors import InputError
from epochwise.common.wording import listed
from epochwise.data.csv_table import CsvTables, is_table
from epochwise.data.idx import IdxFolder, is_idx
from epochwise.data.images import RawImages, ReadOptions
from epochwise.data.npz import NpyFolder, NpzFile
from epochwise.data.pictures import PictureFolder, is_picture, visible

KINDS = "an .npz, a .csv, or a folder of IDX files, of CSV files, or of pictures by class (train/CLASS/…, test/CLASS/…)"
OTHER_KINDS = {  # first bytes of files that are not read, and what to do with them
    b"PK": "unpack it (python -m zipfile -e FILE FOLDER) and name the folder",
    b"\x1f\x8b": "unpack it (gunzip or tar -xzf) and name what was in it",
    b"\x93NUMPY": "an .npy holds one array; save all with np.savez(path, x_train=…, y_train=…, x_test=…, y_test=…)",
    b"\x89HDF": "read it with h5py or scipy.io.loadmat, and save the arrays with np.savez",
    b"MATLAB": "read it with scipy.io.loadmat, and save the arrays with np.savez",
    b"PAR1": "read it with pandas, and save the arrays with np.savez",
    b"\x80": "a pickle is never loaded, because that runs code; save the arrays with np.savez",
}


class Reader(Protocol):
    """Reads the labelled images in some files, the content of which is all that it depends on."""

    @property
    def files(self) -> list[Path]: ...

    def read(self, options: ReadOptions) -> RawImages: ...


def reader_of(path: Path) -> Reader:
    """The reader for a file or a folder. Raises InputError if it holds nothing that is read here."""
    if path.is_dir():
        return _reader_of_folder(path)
    if path.suffix.lower() == ".npz" or _is_npz(path):
        return NpzFile(path)
    if is_table(path):
        return CsvTables.beside(path)
    if is_idx(path) or is_picture(path):
        raise InputError(f"prepare.source: {path} is one file of several; name the folder that it is in")
    with open(path, "rb") as stream:
        start = stream.read(8)
    ways = [way for magic, way in OTHER_KINDS.items() if start.startswith(magic)]
    raise InputError(f"prepare.source: {path} is not read; {ways[0] if ways else f'give {KINDS}'}")


def _reader_of_folder(folder: Path) -> Reader:
    folders, files = visible(folder)
    reader = _find_reader(folder, folders, files)
    if reader:
        return reader
    pictures = [path.name for path in files if is_picture(path)]
    if pictures:
        raise InputError(
            f"prepare.source: {folder} has pictures outside folders ({listed(pictures, 3)}); put those of each class "
            "into a folder of its own"
        )
    found = listed([*map(_folder_text, folders), *(path.name for path in files)]) or "nothing"
    raise InputError(f"prepare.source: {folder} holds {found}; {_hint(folders) or f'give {KINDS}'}")


def _folder_text(folder: Path) -> str:
    holds_files = any(path.is_file() for path in folder.rglob("*"))
    return f"{folder.name}/{'' if holds_files else ' (no files)'}"


def _find_reader(folder: Path, folders: list[Path], files: list[Path]) -> Reader | None:
    return (
        IdxFolder.find(folder, files)
        or PictureFolder.find(folder, folders)
        or NpyFolder.find(folder, files)
        or CsvTables.find(folder, files)
    )


def _hint(folders: Sequence[Path]) -> str:
    """The only folder further down that can be read, if there is one: archives often have a folder on top."""
    found = []
    for path in folders:
        for inside in (path, *visible(path)[0]):
            with suppress(InputError):
                if _find_reader(inside, *visible(inside)):
                    found.append(inside)
                    break
    return f"name the folder {found[0]}" if len(found) == 1 else ""


def _is_npz(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as members:
            return any(re.search(r"\.npy$", name) for name in members.namelist())
    except (OSError, ValueError, zipfile.BadZipFile):
        return False
