"""Locks on run directories, so that one process at a time works in one."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from epochwise.common.locks import acquire, file_lock, holder


@contextmanager
def try_lock_directory(root: Path, directory: Path) -> Iterator[bool]:
    """Yield whether `directory` could be locked at once. If so, no other process works in it until this ends."""
    lock = _directory_lock(root, directory)
    try:
        acquire(lock, 0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


@contextmanager
def lock_directory(root: Path, directory: Path) -> Iterator[None]:
    """Lock `directory`. If another process holds the lock, print so and wait.

    Such a process may be the child of a `dvc` that was killed: the child goes on working in the directory.
    """
    lock = _directory_lock(root, directory)
    try:
        acquire(lock, 0)
    except Timeout:
        print(f"{directory}: {holder(Path(lock.lock_file))} works here; waiting until it ends", flush=True)
        acquire(lock)
    try:
        yield
    finally:
        lock.release()


def internal_folder(root: Path) -> Path:
    """What users have no reason to empty: locks, the register of active runs, records of the pipeline's models."""
    return root / ".epochwise"


def lock_file_of(root: Path, directory: Path) -> Path:
    """The file whose lock is the directory's, named by its path in the project, which hosts may have elsewhere."""
    resolved, around = directory.resolve(), root.resolve()
    path = resolved.relative_to(around) if resolved.is_relative_to(around) else resolved
    name = hashlib.sha256(str(path).encode()).hexdigest()
    return internal_folder(root) / f"{name}.folder"


def _directory_lock(root: Path, directory: Path) -> FileLock:
    return file_lock(lock_file_of(root, directory))
