"""Locks between processes. The system releases a lock when its process ends, however that process ends.

After some seconds of waiting a line names the file and the process that holds it. A file system that has no locks is
an error: without them two processes could train the same epochs, or make the same database.
"""

import errno
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from epochwise.common.errors import one_line

PATIENCE = 5.0  # seconds of waiting until a line says for what
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}  # what flock(2) then answers
LONGEST_COMMAND = 80  # characters of a command that are shown


class NoLocksError(OSError):
    """The file system of a lock's file has no locks. The message says what to do."""


def file_lock(path: Path) -> FileLock:
    """The lock of a file, not yet acquired.

    The file is never removed: a process that waits on a removed file would not see the file that replaces it. It has
    the permissions that the umask leaves, so that all of a team with umask 002 can lock it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The library's own substitute for flock stays locked when its process is killed.
    return FileLock(path, fallback_to_soft=False)


def acquire(lock: FileLock, seconds: float = -1) -> None:
    """Acquire `lock` within `seconds`; -1 waits as long as it takes, and prints for what if that takes long.

    Raises filelock's Timeout, NoLocksError, and OSError if the file cannot be written.
    """
    path = Path(lock.lock_file)
    reminder = threading.Timer(PATIENCE, _print_reason, [path])
    reminder.daemon = True
    try:
        if seconds < 0:
            reminder.start()
        lock.acquire(timeout=seconds)
    except Timeout:
        raise
    except OSError as error:
        if error.errno in NO_LOCKS:
            raise NoLocksError(
                f"{path}: its file system has no locks ({error.strerror}), without which two processes could do the "
                f"same work; mount it with locks, or make {path.parent} a link to a folder on a disk of this machine"
            ) from error
        raise OSError(error.errno, error.strerror, error.filename or str(path)) from error
    finally:
        reminder.cancel()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file. Raises as `acquire` does."""
    lock = file_lock(path)
    acquire(lock)
    try:
        yield
    finally:
        lock.release()


def holder(path: Path) -> str:
    """The process that holds the lock of a file, with its command; "another process" if Linux does not say which."""
    with suppress(OSError, ValueError):
        inode = str(path.stat().st_ino)
        for line in Path("/proc/locks").read_text(encoding="utf-8").splitlines():
            fields = line.split()  # 1: FLOCK ADVISORY WRITE 4711 fe:01:131 0 EOF
            if fields[1:2] == ["FLOCK"] and fields[5].rpartition(":")[2] == inode and int(fields[4]) != os.getpid():
                return f"process {fields[4]}{_command(fields[4])}"
    return "another process"


def _command(pid: str) -> str:
    """The command of a process, in brackets; nothing if it may not be read."""
    try:
        text = one_line(Path("/proc", pid, "cmdline").read_bytes().decode(errors="replace").replace("\0", " "))
    except OSError:
        return ""
    return f" ({text[: LONGEST_COMMAND - 1]}…)" if len(text) >= LONGEST_COMMAND else f" ({text})" if text else ""


def _print_reason(path: Path) -> None:
    print(f"waiting for the lock {path}, which {holder(path)} holds", file=sys.stderr, flush=True)
