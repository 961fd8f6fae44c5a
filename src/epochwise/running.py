"""Which runs are at work: each holds a lock that the system frees with its process, however that ends.

So a run whose process was killed, which could tell nobody, is found by the next one that starts on this machine.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from epochwise import InputError, rundir
from epochwise.files import read_json, write_json
from epochwise.tracking import Server, warn
from epochwise.view import bring_level


@contextmanager
def announced(root: Path, token: str, about: dict) -> Iterator[None]:
    """Keep `about`, by which a run can be found, until it is forgotten, which is once it has told how it ended.

    Waits while another process works in the same `about["folder"]`: dvc may have been killed, its child be at work.
    """
    entry = _entry(root, token)
    entry.parent.mkdir(parents=True, exist_ok=True)
    place = FileLock(_place(root, about["folder"]))
    try:
        place.acquire(blocking=False)
    except Timeout:
        print(f"{about['folder']}: another process works here; waiting for its end", flush=True)
    with place, FileLock(entry.with_suffix(".lock")):
        write_json(entry, about)
        try:
            yield
        finally:
            Path(place.lock_file).unlink(missing_ok=True)


def wait_for(root: Path, folder: Path) -> None:
    """Return once no process works in `folder`: of a sweep whose parent was killed, a worker may still be ending."""
    place = _place(root, str(folder.resolve()))
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(place):
        pass


@contextmanager
def alone(root: Path, folder: Path) -> Iterator[bool]:
    """Whether no process works in `folder`; if so, none does until this ends."""
    place = _place(root, str(folder.resolve()))
    place.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def settle(root: Path, server: Server | None = None) -> None:
    """Say of runs whose process is gone how they ended: in run.json and, if it is theirs, on `server`.

    What does not work is tried again by the next run that starts.
    """
    for token, about in left_behind(root).items():
        if "status" not in about:
            status, ended = rundir.settle(Path(about.get("folder", "")), token)
            about |= {"status": status, "ended": ended}
        with suppress(OSError):  # another user's
            if about.get("server") is None:
                forget(root, token)
                continue
            write_json(_entry(root, token), about)
            if server and about["server"] == server.name:
                try:
                    _tell(server, token, about)
                except Exception as error:  # see Server; another run's trouble does not end this one's tracking
                    warn(error, "an earlier run that was killed is still RUNNING there")
                    return
                forget(root, token)


def _tell(server: Server, token: str, about: dict) -> None:
    """How a run ended and, unless it finished or its folder is another's by now, all that it has come to."""
    folder = Path(about.get("folder", ""))
    if about["status"] != "FINISHED" and rundir.holds(folder, token):
        bring_level(server, folder)
    else:
        server.end_left(about.get("experiment", ""), token, about["status"], about["ended"])


def left_behind(root: Path) -> dict[str, dict]:
    """What was announced of the runs whose process is gone, by token."""
    gone = {}
    for entry in sorted(_entry(root, "").parent.glob("[!.]*.json")):
        try:
            with FileLock(entry.with_suffix(".lock"), blocking=False):
                gone[entry.stem] = read_json(entry)
        except (Timeout, InputError, OSError):  # at work; forgotten just now; of another user
            continue
    return gone


def forget(root: Path, token: str) -> None:
    """What became of the run is known: it is not left behind any more."""
    for suffix in (".json", ".lock"):
        _entry(root, token).with_suffix(suffix).unlink(missing_ok=True)


def _entry(root: Path, token: str) -> Path:
    return root / "mlruns" / ".running" / f"{token}.json"


def _place(root: Path, folder: str) -> Path:
    """The lock on a run directory, by its absolute path."""
    return _entry(root, hashlib.sha256(folder.encode()).hexdigest()).with_suffix(".folder")
