"""The state store: of each trajectory the exact state after each epoch, which any run may start from.

A state is one file, `EPOCH-SHA256.npz`, named by the hash of its bytes and written whole or not at all. One process
trains a trajectory at a time, under a lock that the system frees with the process; the others take what it leaves.
"""

import hashlib
import io
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from epochwise.common.files import replacing, write_json
from epochwise.training.history import COLUMNS, Rows
from epochwise.trajectory.identity import trajectory_key

NAME = re.compile(r"(\d{5,})-([0-9a-f]{64})\.npz")  # the epoch, and the sha256 of the bytes
IDENTITY = "identity.json"  # what the trajectory is, for whoever looks into the folder
POLL = 0.1  # seconds between two looks at what another process trains; an epoch takes longer
WRITING = 3600  # seconds after which a file that is still under a temporary name belongs to a process that died


def kept_epoch(store: Path, key: str, most: int) -> int:
    """The newest epoch up to `most` of which the trajectory `key` has a state, by the files' names; 0 if none."""
    return max((epoch for epoch in _epochs(store / key).values() if epoch <= most), default=0)


@dataclass(frozen=True)
class State:
    """All variables of model and optimizer, in their order, after `epoch`; rows and seconds of each epoch up to it."""

    epoch: int
    variables: list[np.ndarray]
    rows: Rows
    seconds: list[float]
    path: Path


class States:
    """The states of the trajectory with this identity, in a folder of `store`, kept within `max_gb` (10⁹ bytes).

    The store is there to save time: what the disk refuses costs a warning and the time, never the training.
    """

    def __init__(self, store: Path, identity: dict, max_gb: float):
        self.store, self.folder, self.max_bytes = store, store / trajectory_key(identity), max_gb * 1e9
        with self._warning("is not described"):
            if not (self.folder / IDENTITY).exists():
                write_json(self.folder / IDENTITY, identity)

    @contextmanager
    def turn(self, epoch: int) -> Iterator[State | None]:
        """Wait until the state of `epoch` is there or it is this process's turn to train towards it.

        Yields the newest sound state up to `epoch`, or None. While that is not the one of `epoch` itself, no other
        process trains towards later ones, unless some that lay on its way were not kept.
        """
        lock = FileLock(self.folder / ".lock")
        try:
            with self._warning("no lock: others may train the same"):
                self._wait(lock, epoch)
            yield self._newest(epoch)
        finally:
            lock.release()

    def _wait(self, lock: FileLock, epoch: int) -> None:
        """Return once `lock` is held, or whoever holds it has come to `epoch` or is past it."""
        told = False
        while True:
            try:
                lock.acquire(timeout=POLL, poll_interval=POLL)
                return
            except Timeout:
                if max(_epochs(self.folder).values(), default=0) >= epoch:
                    return
            if not told:
                print(
                    f"another process trains this trajectory; waiting until it has come to epoch {epoch}, or ends",
                    flush=True,
                )
                told = True

    def write(self, variables: list[np.ndarray], rows: Rows, seconds: list[float]) -> None:
        """Keep the state after the last of `rows`. A disk that refuses it costs a warning, not the training."""
        stream = io.BytesIO()
        told = np.array([[row[column] for column in COLUMNS] for row in rows])
        arrays = {f"variable_{index:03}": value for index, value in enumerate(variables)}
        np.savez(stream, allow_pickle=False, history=told, seconds=np.array(seconds), **arrays)
        content = stream.getvalue()
        name = f"{len(rows):05}-{hashlib.sha256(content).hexdigest()}.npz"
        with self._warning(f"epoch {len(rows)} is not kept"), replacing(self.folder / name) as temporary:
            temporary.write_bytes(content)
        with self._warning("no room is made"):
            self._shrink()

    def _newest(self, most: int) -> State | None:
        """The newest sound state up to `most`; unsound ones are named in a warning and removed."""
        found = _epochs(self.folder)
        for path in sorted((path for path in found if found[path] <= most), key=found.get, reverse=True):
            with self._warning(f"{path.name} is not readable, so not used"), suppress(FileNotFoundError):
                state = _read(path)  # or another process has made room
                if state:
                    return state
                print(f"warning: {path}: damaged, so not used, and removed", file=sys.stderr)
                path.unlink(missing_ok=True)
        return None

    def _shrink(self) -> None:
        """Remove what was not used for longest, of all trajectories, until the store is within its size."""
        kept = []
        for path in self.store.glob("*/*.npz"):
            with suppress(FileNotFoundError):
                about = path.stat()
                if NAME.fullmatch(path.name):
                    kept.append((about.st_mtime_ns, path, about.st_size))
                elif path.name.startswith(".") and about.st_mtime < time.time() - WRITING:
                    path.unlink()
        before = size = sum(bytes_ for _, _, bytes_ in kept)
        for _, path, bytes_ in sorted(kept):
            if size <= self.max_bytes:
                break
            path.unlink(missing_ok=True)
            size -= bytes_
        if size < before:
            within = f"to stay within trajectories.max_gb={self.max_bytes / 1e9:g}"
            print(f"{(before - size) / 1e6:.1f} MB of {self.store.name} removed {within}", flush=True)

    @contextmanager
    def _warning(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            print(f"warning: {self.folder}: {what} ({error})", file=sys.stderr)


def _epochs(folder: Path) -> dict[Path, int]:
    names = ((path, NAME.fullmatch(path.name)) for path in folder.glob("*.npz"))
    return {path: int(match[1]) for path, match in names if match}


def _read(path: Path) -> State | None:
    """A state, marked as used; None if its bytes are not those that were written, or not those of a state."""
    content = path.read_bytes()
    epoch, sha256 = NAME.fullmatch(path.name).groups()
    if hashlib.sha256(content).hexdigest() != sha256:
        return None
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            variables = [arrays[name] for name in sorted(arrays.files) if name.startswith("variable_")]
            told, seconds = arrays["history"].tolist(), arrays["seconds"].tolist()
        rows = [dict(zip(COLUMNS, [int(row[0]), *row[1:]], strict=True)) for row in told]
    except Exception:  # zip, deflate and header errors, of a file that somebody has named so
        return None
    if len(rows) != int(epoch):
        return None
    with suppress(OSError):
        os.utime(path)
    return State(int(epoch), variables, rows, seconds, path)
