"""Where the project is, and where its main checkout."""

import os
from pathlib import Path

from epochwise.common.errors import InputError


def find_root() -> Path:
    """The project of the working directory: the first folder upwards with params.yaml and conf/.

    Never that of the installed code: DVC runs stages in copies of the project. Raises InputError if there is none.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "params.yaml").is_file() and (folder / "conf").is_dir():
            return folder
    raise InputError(f"{here}: no project here; run this in a folder with params.yaml and conf/, or below it")


def main_root() -> Path:
    """Where what outlives a copy of the project is kept; `dvc exp run` names its main checkout in DVC_ROOT."""
    return Path(os.environ.get("DVC_ROOT") or find_root()).resolve()
