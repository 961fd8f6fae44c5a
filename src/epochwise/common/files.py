"""Read and write files. A file is either whole or not there: it is written under a temporary name, then renamed."""

import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from epochwise.common.errors import InputError
from epochwise.common.hosts import name_in_files


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, with the same suffix.

    On success the temporary file is flushed to disk and renamed to `path`; on an exception it is removed. No two
    processes have one temporary path, also if they run on two hosts or in two containers that share the folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{name_in_files()}.{os.getpid()}.{secrets.token_hex(4)}.{path.name}")
    try:
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def temporary_names(name: str) -> re.Pattern[str]:
    """What the temporary names of a file look like, also those that had no host and no random text before 0.1."""
    return re.compile(rf"\.(?:[A-Za-z0-9-]+\.)?\d+\.(?:[0-9a-f]{{8}}\.)?{re.escape(name)}")


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write strict JSON, which DVC's metrics need. A NaN raises ValueError."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Raises InputError if `path` does not exist or does not hold a JSON object."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not readable ({error})") from error
    if not isinstance(value, dict):
        raise InputError(f"{path}: does not hold a JSON object")
    return value


def _refuse_constant(word: str) -> None:
    """NaN and the infinities are no JSON, though Python reads them."""
    raise ValueError(f"{word} is no number of JSON")


def find_files(folder: Path, name: str) -> Iterator[Path]:
    """The files of this name in a folder and all below it, also behind links to folders, each folder once."""
    seen = set()
    for path, folders, files in os.walk(folder, followlinks=True):
        status = os.stat(path)
        if (status.st_dev, status.st_ino) in seen:  # by way of another link, which may lead in a circle
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        if name in files:
            yield Path(path, name)


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Hexadecimal digest of a file's bytes. With `md5` it is the md5 that dvc.lock records."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()
