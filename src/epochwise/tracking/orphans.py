"""Which runs are at work: each holds a lock that the system frees with its process, however that ends.

So a run whose process was killed, which could tell nobody, is found by the next one that starts on this machine.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from epochwise.common.errors import InputError
from epochwise.common.files import read_json, write_json
from epochwise.common.locks import at_work, locks_folder
from epochwise.runs import directory as rundir
from epochwise.tracking.run_mirror import bring_level
from epochwise.tracking.server import Server


@contextmanager
def announced(root: Path, token: str, folder: Path, server: str | None, experiment: str) -> Iterator[None]:
    """Work in `folder`, alone, with a note by which the run can be found until it is forgotten, its end being told."""
    inside = folder.resolve().relative_to(root) if folder.resolve().is_relative_to(root) else folder.resolve()
    entry = _entry(root, token)
    with at_work(root, folder), FileLock(entry.with_suffix(".lock")):
        write_json(entry, {"folder": str(inside), "server": server, "experiment": experiment})
        yield


def settle(root: Path, server: Server | None = None) -> None:
    """Say of runs whose process is gone how they ended: in run.json and, if it is theirs, on `server`.

    What does not work is tried again by the next run that starts.
    """
    faults = 0
    for token, about in left_behind(root).items():
        folder = root / about.get("folder", "")
        with suppress(OSError):  # another user's
            if "status" not in about:
                status, ended = rundir.settle(folder, token)
                about |= {"status": status, "ended": ended}
                write_json(_entry(root, token), about)
            if about.get("server") is None:
                forget(root, token)
        if server and about.get("server") == server.place and faults < 2:  # one of them may be a fault of the run's own
            try:
                _tell(server, folder, token, about)
                forget(root, token)
            except Exception:  # see Server; what this process wants of the server itself will tell that it fails
                faults += 1


def _tell(server: Server, folder: Path, token: str, about: dict) -> None:
    """How a run ended, if MLflow does not know, and all that it has come to, if its folder is not another's by now."""
    known = server.find(about.get("experiment", ""), token)
    if known and known.info.status != "RUNNING":
        return
    if about["status"] != "FINISHED":
        with suppress(InputError):  # of files that are not whole
            bring_level(server, folder, token=token)
    why = "" if about["status"] == "FINISHED" else rundir.KILLED
    server.end_left(about.get("experiment", ""), token, about["status"], about["ended"], why)


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
    return locks_folder(root) / f"{token}.json"
