"""One process at a time in a run directory: locks that the system frees with their process, however that ends."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def alone(root: Path, folder: Path) -> Iterator[bool]:
    """Whether no process works in `folder`; if so, none does until this ends."""
    lock = _lock(root, folder)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


@contextmanager
def at_work(root: Path, folder: Path) -> Iterator[None]:
    """Work in `folder`, once no other process does: dvc may have been killed, and its child be at work."""
    lock = _lock(root, folder)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        print(f"{folder}: another process works here; waiting for its end", flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def locks_folder(root: Path) -> Path:
    """In none of the folders that a user may want to empty."""
    return root / ".epochwise"


def _lock(root: Path, folder: Path) -> FileLock:
    """By the folder's absolute path. The file stays: who waits for one that is removed does not see its successor."""
    place = locks_folder(root) / hashlib.sha256(str(folder.resolve()).encode()).hexdigest()
    place.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(place.with_suffix(".folder"))
