"""Where the project is, where its main checkout is, and how a path is printed."""

import os
from pathlib import Path

from epochwise.common.errors import InputError


def find_root() -> Path:
    """The project that the working directory is in: the nearest folder upwards that holds params.yaml and conf/.

    The location of the installed code is never used, because DVC runs stages in copies of the project.
    Raises InputError if there is no project.
    """
    try:
        here = Path.cwd()
    except OSError as error:
        raise InputError(f"the working directory is not there any more ({error.strerror})") from error
    for folder in (here, *here.parents):
        if (folder / "params.yaml").is_file() and (folder / "conf").is_dir():
            return folder
    raise InputError(f"{here}: no project here; run this in a folder with params.yaml and conf/, or below it")


def main_root() -> Path:
    """The main checkout, which keeps what outlives a copy of the project. `dvc exp run` names it in DVC_ROOT."""
    return Path(os.environ.get("DVC_ROOT") or find_root()).resolve()


def display_path(path: Path) -> str:
    """A path as it is printed: relative to the project's root if it is inside it.

    Bytes of a file name that are not text are replaced, so that the result can be printed.
    """
    root = find_root()
    shown = path.relative_to(root) if path.is_relative_to(root) else path
    return os.fsencode(shown).decode(errors="replace")
