"""States in a store that a URL names, such as s3://bucket/states, by way of fsspec.

A state never changes, and its name is the hash of its bytes. So nothing has to be locked: whoever reads half a state
sees that by its name, and the worst that two trainings of one trajectory at once can do is to train an epoch twice.
"""

import functools
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from epochwise.common.errors import one_line
from epochwise.training.history import History
from epochwise.trajectory.identity import Identity, trajectory_key
from epochwise.trajectory.states import (
    IDENTITY_FILE,
    STATE_NAME,
    State,
    States,
    StateStore,
    as_history,
    decode,
    encode,
)
from epochwise.trajectory.states import kept_epochs as local_epochs
from epochwise.trajectory.states import kept_history as local_history

Store = Path | str  # a folder, or a URL
HISTORY_BLOCK = 2**16  # bytes that are read at once when only the history of a state is wanted


def open_states(store: Store, identity: Identity, max_gb: float) -> States:
    """The states of a trajectory. `max_gb` is the limit of a folder; that of a URL is its owner's to set."""
    return StateStore(store, identity, max_gb) if isinstance(store, Path) else RemoteStates(store, identity)


def kept_epochs(store: Store, key: str) -> list[int]:
    """The epochs of which the trajectory `key` has a state, by the names, in order; none if the store is away."""
    if isinstance(store, Path):
        return local_epochs(store, key)
    return all_kept_epochs(store, key).get(key, [])


def all_kept_epochs(url: str, key: str = "") -> dict[str, list[int]]:
    """What `kept_epochs` is of each trajectory of a store that a URL names, or of one; empty if the store is away."""
    try:
        system, folder = _reach(url)
        system.invalidate_cache()  # others write there, too
        names = system.find(f"{folder}/{key}".rstrip("/"))
    except Exception:  # of each file system its own; trainings say so, and go on without states
        return {}
    found: dict[str, set[int]] = {}
    for name in names:
        path = PurePosixPath(name)
        match = STATE_NAME.fullmatch(path.name)
        if match:
            found.setdefault(path.parent.name, set()).add(int(match[1]))
    return {name: sorted(epochs) for name, epochs in found.items()}


def kept_history(store: Store, key: str, epoch: int) -> History:
    """The history in a state of the trajectory `key`, without the rest of it; empty if it cannot be read."""
    if isinstance(store, Path):
        return local_history(store, key, epoch)
    try:
        system, folder = _reach(f"{store.rstrip('/')}/{key}")
        names = (PurePosixPath(name).name for name in system.ls(folder, detail=False))
        found = {int(match[1]): match[0] for name in names if (match := STATE_NAME.fullmatch(name))}
        return _history(store, key, found[epoch])
    except Exception:  # no such state, a damaged one, or whatever the file system raises
        return []


def largest_state(store: Store, key: str) -> int | None:
    """The bytes of the largest state of the trajectory `key`; None if there is none or the store is away."""
    if isinstance(store, Path):
        return max((path.stat().st_size for path in (store / key).glob("*.npz")), default=None)
    try:
        system, folder = _reach(f"{store.rstrip('/')}/{key}")
        return max(int(file["size"]) for file in system.ls(folder, detail=True) if file["name"].endswith(".npz"))
    except Exception:  # no state, or whatever the file system raises
        return None


@functools.lru_cache(maxsize=128)  # a scheduler asks for it every second; a name stands for one content
def _history(url: str, key: str, name: str) -> History:
    """The history in a state. Of a state of many megabytes only some ranges are read."""
    system, path = _reach(f"{url.rstrip('/')}/{key}/{name}")
    with system.open(path, "rb", block_size=HISTORY_BLOCK) as stream, np.load(stream, allow_pickle=False) as arrays:
        return as_history(arrays["history"])


class RemoteStates(States):
    """The states of one trajectory. As in `StateStore`, an error of the store costs a warning and time, no training."""

    def __init__(self, url: str, identity: Identity) -> None:
        self.url, self.key = url.rstrip("/"), trajectory_key(identity)
        self._try("the trajectory is not described", lambda: self._describe(identity))

    @contextmanager
    def turn_to_train(self, epoch: int, patience: int | None = None) -> Iterator[State | None]:
        """Yield what `newest` is. Others may train the same epochs meanwhile."""
        yield self.newest(epoch, patience)

    def write(self, variables: list[np.ndarray], history: History, seconds: list[float]) -> None:
        """Keep the state after the last epoch of `history`. If the store refuses, print a warning."""
        name, content = encode(variables, history, seconds)

        def put() -> None:
            system, folder = self._folder()
            system.makedirs(folder, exist_ok=True)
            system.pipe_file(f"{folder}/{name}", content)

        self._try(f"epoch {len(history)} is not kept", put)

    def _newest_up_to(self, last: int) -> State | None:
        state: State | None = self._try("its states are not used", lambda: self._look_for(last))
        return state

    def _folder(self) -> tuple[Any, str]:
        system, root = _reach(self.url)
        return system, f"{root}/{self.key}"

    def _describe(self, identity: Identity) -> None:
        system, folder = self._folder()
        if not system.exists(f"{folder}/{IDENTITY_FILE}"):
            system.makedirs(folder, exist_ok=True)
            system.pipe_file(f"{folder}/{IDENTITY_FILE}", json.dumps(identity, indent=2).encode())

    def _look_for(self, last: int) -> State | None:
        """The newest undamaged state up to epoch `last`. One that is damaged may be one that is just being written."""
        system, folder = self._folder()
        system.invalidate_cache(folder)
        if not system.exists(folder):
            return None
        paths = [PurePosixPath(name) for name in system.ls(folder, detail=False)]
        epochs = {path: int(match[1]) for path in paths if (match := STATE_NAME.fullmatch(path.name))}
        for path in sorted((path for path in epochs if epochs[path] <= last), key=epochs.__getitem__, reverse=True):
            try:
                state = decode(system.cat_file(f"{folder}/{path.name}"), Path(path))
            except FileNotFoundError:  # removed meanwhile by whoever limits the store's size
                continue
            if state:
                return state
            print(f"warning: {self.url}/{self.key}/{path.name}: damaged, so not used", file=sys.stderr)
        return None

    def _try(self, outcome: str, action: Callable[[], Any]) -> Any:  # noqa: ANN401  # what the action returns
        """What the action returns; None after a warning if the store fails."""
        try:
            return action()
        except Exception as error:  # each file system has errors of its own, also of the network and of passwords
            reason = f"{type(error).__name__}: {one_line(error)}"
            print(f"warning: {self.url}: {outcome} ({reason})", file=sys.stderr)
            return None


def _reach(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it, without a slash at its end."""
    from fsspec.core import url_to_fs  # costs a tenth of a second, and most stores are folders

    system, path = url_to_fs(url)
    return system, str(path).rstrip("/")
