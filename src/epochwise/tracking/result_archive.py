"""results.zip, an artifact: the files of a run that are for programs to read. One by one each would be a request."""

import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

from epochwise.common.errors import InputError
from epochwise.common.files import write_bytes
from epochwise.evaluation.file_names import PACKED
from epochwise.runs.directory import RunDirectory

ARCHIVE = "results.zip"


def packed_files(run: RunDirectory, evaluated: bool) -> list[Path]:
    """The files of a run that the archive has, as far as they exist: of an evaluation only if it is the run's own."""
    return [run.history, *(run.evaluation / name for name in PACKED if evaluated)]


def pack(files: Iterable[Path], path: Path) -> None:
    """Write an archive of files: the same bytes for the same files, since nothing is compressed or dated."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in files:
            archive.writestr(zipfile.ZipInfo(file.name), file.read_bytes())


def unpack(path: Path, run: RunDirectory) -> None:
    """Put the files of an archive into a run directory. Raises InputError if it is no archive that `pack` has written.

    Anybody who may write to the server may have written it, so nothing else in it is looked at.
    """
    wanted = {file.name: file for file in packed_files(run, evaluated=True)}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if member.filename in wanted:
                    if member.compress_type != zipfile.ZIP_STORED:
                        raise ValueError(f"{member.filename} is compressed")
                    write_bytes(wanted[member.filename], archive.read(member))
    # RuntimeError: a member that is encrypted, or of a kind that this Python cannot read.
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path.name}: not a readable archive of a run's results ({error})") from error
