"""The state store: of each trajectory the exact state after each epoch, which any run may start from.

A state is one file, `EPOCH-SHA256.npz`, named by the hash of its bytes and written whole or not at all. One process
trains a trajectory at a time, under a lock that the system frees with the process; the others take what it leaves.
"""

import hashlib
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from epochwise.files import replacing, write_json
from epochwise.history import COLUMNS, Rows
from epochwise.trajectory import trajectory_key

FILES = "[0-9]*-*.npz"
IDENTITY = "identity.json"  # what the trajectory is, for whoever looks into the folder
POLL = 0.1  # seconds between two looks at what another process trains; an epoch takes longer


@dataclass(frozen=True)
class State:
    """All variables of model and optimizer, in their order, after `epoch`; rows and seconds of all epochs up to it."""

    epoch: int
    variables: list[np.ndarray]
    rows: Rows
    seconds: list[float]
    path: Path


class States:
    """The states of the trajectory with this identity, in a folder of `store`, kept within `max_gb` (10⁹ bytes)."""

    def __init__(self, store: Path, identity: dict, max_gb: float):
        self.store, self.folder, self.max_bytes = store, store / trajectory_key(identity), max_gb * 1e9
        if not (self.folder / IDENTITY).exists():
            write_json(self.folder / IDENTITY, identity)

    @contextmanager
    def turn(self, epoch: int) -> Iterator[State | None]:
        """Wait until the state of `epoch` is there or it is this process's turn to train towards it.

        Yields the newest sound state up to `epoch`, or None. While that is not the one of `epoch` itself, this process
        alone may write.
        """
        lock = FileLock(self.folder / ".lock")
        try:
            yield self._wait(lock, epoch) or self._newest(epoch)
        finally:
            lock.release()

    def _wait(self, lock: FileLock, epoch: int) -> State | None:
        """Return the state of `epoch` once another process has written it, or None once `lock` is held."""
        told = False
        while True:
            try:
                lock.acquire(timeout=POLL, poll_interval=POLL)
            except Timeout:
                if state := self._newest(epoch, least=epoch):
                    return state
                if not told:
                    print(f"another process trains this trajectory; waiting for epoch {epoch} or its end", flush=True)
                    told = True
                continue
            for torn in self.folder.glob(".*.npz"):  # of a process that died while it wrote
                torn.unlink(missing_ok=True)
            return None

    def write(self, variables: list[np.ndarray], rows: Rows, seconds: list[float]) -> None:
        """Keep the state after the last of `rows`. A disk that refuses it costs a warning, not the training."""
        content = io.BytesIO()
        told = np.array([[row[column] for column in COLUMNS] for row in rows])
        arrays = {f"variable_{index:03}": value for index, value in enumerate(variables)}
        np.savez(content, allow_pickle=False, history=told, seconds=np.array(seconds), **arrays)
        name = f"{len(rows):05}-{hashlib.sha256(content.getbuffer()).hexdigest()}.npz"
        try:
            with replacing(self.folder / name) as temporary:
                temporary.write_bytes(content.getbuffer())
            self._shrink()
        except OSError as error:
            print(f"warning: {self.folder}: epoch {len(rows)} is not kept ({error})", file=sys.stderr)

    def _newest(self, most: int, least: int = 1) -> State | None:
        """The newest sound state of `least` to `most`; unsound ones are named in a warning and removed."""
        found = {path: int(path.name.partition("-")[0]) for path in self.folder.glob(FILES)}
        for path in sorted((path for path in found if least <= found[path] <= most), key=found.get, reverse=True):
            try:
                state = _read(path)
            except FileNotFoundError:  # another process has made room
                continue
            except OSError as error:
                print(f"warning: {path}: not readable ({error}); using an earlier state", file=sys.stderr)
                continue
            if state is None:
                print(f"warning: {path}: damaged, so removed; using an earlier state", file=sys.stderr)
                path.unlink(missing_ok=True)
                continue
            return state
        return None

    def _shrink(self) -> None:
        """Remove what was not used for longest, of all trajectories, until the store is within its size."""
        kept = []
        for path in self.store.glob(f"*/{FILES}"):
            try:
                about = path.stat()
            except FileNotFoundError:
                continue
            kept.append((about.st_mtime_ns, path, about.st_size))
        size = sum(bytes_ for _, _, bytes_ in kept)
        for _, path, bytes_ in sorted(kept):
            if size <= self.max_bytes:
                break
            path.unlink(missing_ok=True)
            size -= bytes_


def _read(path: Path) -> State | None:
    """A state, marked as used; None if its bytes are not those that were written."""
    content = path.read_bytes()
    epoch, _, sha256 = path.stem.partition("-")
    if hashlib.sha256(content).hexdigest() != sha256:
        return None
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        variables = [arrays[name] for name in sorted(arrays.files) if name.startswith("variable_")]
        told, seconds = arrays["history"].tolist(), arrays["seconds"].tolist()
    os.utime(path)
    rows = [dict(zip(COLUMNS, [int(row[0]), *row[1:]], strict=True)) for row in told]
    return State(int(epoch), variables, rows, seconds, path) if len(rows) == int(epoch) else None
