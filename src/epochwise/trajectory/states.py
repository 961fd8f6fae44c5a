"""The state store: for each trajectory the exact state after each epoch, from which any run may start.

A state is one file, `EPOCH-SHA256.npz`, named by the hash of its bytes and written whole or not at all. One process
trains a trajectory at a time, under a lock that the system releases with the process; the others use its states.
"""

import bisect
import functools
import hashlib
import io
import math
import os
import re
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from epochwise.common.files import replacing, write_json
from epochwise.common.locks import acquire, file_lock, holder
from epochwise.training.history import COLUMNS, History
from epochwise.trajectory.ending import last_epoch
from epochwise.trajectory.identity import Identity, trajectory_key

STATE_NAME = re.compile(r"(\d{5,})-([0-9a-f]{64})\.npz")  # the epoch, and the sha256 of the file's bytes
IDENTITY_FILE = "identity.json"  # describes the trajectory to people who look into the folder
POLL_INTERVAL = 0.1  # seconds between two looks at the states of another process; an epoch takes longer
CLOCK_TICK = 2.0  # seconds; of FAT, the coarsest that file systems have
LISTED_FOR = 5.0  # seconds that the list of a folder's states is trusted at most
ABANDONED_AFTER = 3600  # seconds; a temporary file that is older belongs to a process that died


@dataclass(frozen=True)
class State:
    """A training after `epoch`: the values of its variables, its history, and the seconds that each epoch took."""

    epoch: int
    variables: list[np.ndarray]
    history: History
    seconds: list[float]
    path: Path  # of one in a remote store, the path there


class States(ABC):
    """The states of one trajectory, wherever they are kept."""

    @abstractmethod
    def turn_to_train(self, epoch: int, patience: int | None = None) -> AbstractContextManager[State | None]:
        """Yield what `newest` is as soon as this process may train up to `epoch`."""

    @abstractmethod
    def write(self, variables: list[np.ndarray], history: History, seconds: list[float]) -> None:
        """Keep the state after the last epoch of `history`. If the store refuses, print a warning."""

    def newest(self, epoch: int, patience: int | None = None) -> State | None:
        """The newest undamaged state of a run that ends with `epoch`, or before it for want of `patience`; or None.

        A state beyond the end of the run shows where that end is.
        """
        state = self._newest_up_to(epoch)
        end = last_epoch(state.history, epoch, patience) if state else epoch
        return state if state is None or state.epoch <= end else self._newest_up_to(end)

    @abstractmethod
    def _newest_up_to(self, last: int) -> State | None:
        """The newest undamaged state up to epoch `last`. Damaged ones are named in a warning."""


class StateStore(States):
    """The states of one trajectory, in a folder of `store`. All trajectories together are kept within `max_gb`.

    The store only saves time. So an error of the disk costs a warning and the time, never the training.
    """

    def __init__(self, store: Path, identity: Identity, max_gb: float) -> None:
        """`max_gb` is in 10⁹ bytes."""
        self.store, self.folder, self.max_bytes = store, store / trajectory_key(identity), max_gb * 1e9
        with self._warning("the trajectory is not described"):
            if not (self.folder / IDENTITY_FILE).exists():
                write_json(self.folder / IDENTITY_FILE, identity)

    @contextmanager
    def turn_to_train(self, epoch: int, patience: int | None = None) -> Iterator[State | None]:
        """Wait until the state of `epoch` exists or it is this process's turn to train up to it.

        Yields the newest undamaged state up to `epoch`, or None. Unless that is the state of `epoch` itself, no other
        process trains later epochs of this trajectory meanwhile; the one exception is a process that waited for a
        state which has since been removed to make room. With `patience`, the epoch with which the run ends takes the
        place of `epoch` as soon as a state shows which one that is.
        """
        lock: FileLock | None = None
        try:
            with self._warning("no lock; other processes may train the same epochs"):
                lock = file_lock(self.folder / ".lock")
                self._wait(lock, epoch, patience)
            yield self.newest(epoch, patience)
        finally:
            if lock:
                lock.release()

    def write(self, variables: list[np.ndarray], history: History, seconds: list[float]) -> None:
        """Keep the state after the last epoch of `history`. If the disk refuses, print a warning."""
        name, content = encode(variables, history, seconds)
        with self._warning(f"epoch {len(history)} is not kept"), replacing(self.folder / name) as temporary:
            temporary.write_bytes(content)
        with self._warning("old states are not removed"):
            self._remove_oldest()

    def _wait(self, lock: FileLock, epoch: int, patience: int | None) -> None:
        """Return once `lock` is held, or the process that holds it has written the state of `epoch` or a later one."""
        printed = False
        while True:
            try:
                acquire(lock, POLL_INTERVAL)
                return
            except Timeout:
                kept = kept_epochs(self.store, self.folder.name)
                known = newest_of(kept, epoch) if patience is not None else 0
                end = last_epoch(kept_history(self.store, self.folder.name, known), epoch, patience)
                if newest_of(kept) >= end:
                    return
            if not printed:
                print(
                    f"{holder(Path(lock.lock_file))} trains this trajectory; "
                    f"waiting until it has trained epoch {epoch}, or ends",
                    flush=True,
                )
                printed = True

    def _newest_up_to(self, last: int) -> State | None:
        """The newest undamaged state up to epoch `last`. Damaged ones are named in a warning and removed."""
        epochs = _names(self.folder)
        names = sorted((name for name in epochs if epochs[name] <= last), key=epochs.__getitem__, reverse=True)
        for path in (self.folder / name for name in names):
            # FileNotFoundError: another process has removed the state to make room.
            with self._warning(f"{path.name} is not readable, so not used"), suppress(FileNotFoundError):
                state = _read(path)
                if state:
                    return state
                print(f"warning: {path}: damaged, so not used, and removed", file=sys.stderr)
                path.unlink(missing_ok=True)
        return None

    def _remove_oldest(self) -> None:
        """Remove the states of any trajectory that were not used for longest, until the store is within its size."""
        states = []
        for path in self.store.glob("*/*.npz"):
            with suppress(FileNotFoundError):
                status = path.stat()
                if STATE_NAME.fullmatch(path.name):
                    states.append((status.st_mtime_ns, path, status.st_size))
                elif path.name.startswith(".") and status.st_mtime < time.time() - ABANDONED_AFTER:
                    path.unlink()
        before = size = sum(state_size for _, _, state_size in states)
        for _, path, state_size in sorted(states):
            if size <= self.max_bytes:
                break
            path.unlink(missing_ok=True)
            size -= state_size
        if size < before:
            limit = f"to stay within trajectories.max_gb={self.max_bytes / 1e9:g}"
            print(f"{(before - size) / 1e6:.1f} MB of {self.store.name} removed {limit}", flush=True)

    @contextmanager
    def _warning(self, outcome: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            print(f"warning: {self.folder}: {outcome} ({error})", file=sys.stderr)


def encode(variables: list[np.ndarray], history: History, seconds: list[float]) -> tuple[str, bytes]:
    """The name and the bytes of the state after the last epoch of `history`."""
    stream = io.BytesIO()
    rows = np.array([[row[column] for column in COLUMNS] for row in history])
    arrays = {f"variable_{index:06}": value for index, value in enumerate(variables)}
    np.savez(stream, allow_pickle=False, history=rows, seconds=np.array(seconds), **arrays)
    content = stream.getvalue()
    return f"{len(history):05}-{hashlib.sha256(content).hexdigest()}.npz", content


def as_history(rows: np.ndarray) -> History:
    """The history that a state holds as `rows`."""
    return [dict(zip(COLUMNS, [int(row[0]), *row[1:]], strict=True)) for row in rows.tolist()]


def decode(content: bytes, path: Path) -> State | None:
    """The state with this path; None if its bytes are not those that were written, or not those of a state."""
    match = STATE_NAME.fullmatch(path.name)
    if not match or hashlib.sha256(content).hexdigest() != match[2]:
        return None
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            variables = [arrays[name] for name in sorted(arrays.files) if name.startswith("variable_")]
            history, seconds = as_history(arrays["history"]), arrays["seconds"].tolist()
    except Exception:  # zip, deflate and header errors, of a foreign file that was given a state's name
        return None
    if len(history) != int(match[1]):
        return None
    return State(int(match[1]), variables, history, seconds, path)


# See `kept_epochs`: when a folder was changed, when it was read by time.monotonic, and its epochs.
_LISTED: dict[Path, tuple[int, float, list[int]]] = {}


def kept_epochs(store: Path, key: str) -> list[int]:
    """The epochs of which the trajectory `key` has a state, by the files' names, in order.

    A folder is read again only if it has changed, or after LISTED_FOR: the scheduler of a large sweep asks for hundreds
    each second, but some network file systems do not say when a folder has changed, or by the clock of another host.
    """
    folder = store / key
    try:
        changed = folder.stat().st_mtime_ns
    except OSError:
        return []
    listed, now = _LISTED.get(folder), time.monotonic()
    if not listed or listed[0] != changed or now - listed[1] > LISTED_FOR:
        listed = changed, now, sorted(set(_names(folder).values()))
        _LISTED.pop(folder, None)
        # A file system's clock ticks: what changes in the tick of the last change leaves no trace.
        if time.time() - changed / 1e9 > CLOCK_TICK:
            _LISTED[folder] = listed
    return listed[2]


def newest_of(epochs: Sequence[int], last: float = math.inf) -> int:
    """The newest of these epochs, which are in order, up to `last`; 0 if there is none."""
    position = bisect.bisect_right(epochs, last)
    return epochs[position - 1] if position else 0


def kept_history(store: Path, key: str, epoch: int) -> History:
    """The history in a state of the trajectory `key`, without the rest of it; empty if it cannot be read."""
    try:
        return _history(next((store / key).glob(f"{epoch:05}-*.npz")))
    except Exception:  # no such state; zip, deflate and header errors of a damaged one, and those of the file system
        return []


@functools.lru_cache(maxsize=128)  # a scheduler asks for it every second; a name stands for one content
def _history(path: Path) -> History:
    with np.load(path, allow_pickle=False) as arrays:
        return as_history(arrays["history"])


def _names(folder: Path) -> dict[str, int]:
    """The epoch of each state in a folder, by the file's name."""
    with suppress(OSError):
        return {name: int(match[1]) for name in os.listdir(folder) if (match := STATE_NAME.fullmatch(name))}
    return {}


def _read(path: Path) -> State | None:
    """A state, marked as used now; None if its bytes are not those that were written, or not those of a state."""
    state = decode(path.read_bytes(), path)
    if state:
        with suppress(OSError):
            os.utime(path)
    return state
