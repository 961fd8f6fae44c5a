"""Which runs are at work. A run whose process was killed is found by the next run that starts on this machine."""

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from filelock import Timeout

from epochwise.common.directory_locks import internal_folder, lock_directory
from epochwise.common.errors import InputError
from epochwise.common.files import read_json, write_json
from epochwise.common.locks import acquire, file_lock, locked
from epochwise.runs.directory import RunDirectory
from epochwise.runs.record import KILLED, RUNNING

KILLED_REASON = "its process was killed"  # the failure of a run that could not write one itself


@dataclass(frozen=True)
class ActiveRun:
    """An entry of the register: where a run works, and to which tracking server it is logged, if to any."""

    token: str
    directory: str  # relative to the project's root if it is inside it
    server: str | None
    experiment: str
    status: str | None = None  # how an orphan ended, once that is known
    ended: int | None = None  # milliseconds since 1970


@contextmanager
def register_as_running(root: Path, token: str, directory: Path, server: str | None, experiment: str) -> Iterator[None]:
    """Lock the run directory and register the run, so that if this process dies the next one can mark it KILLED.

    The entry stays after the run; `forget` removes it once the tracking server knows how the run ended.
    """
    resolved = directory.resolve()
    inside = resolved.relative_to(root) if resolved.is_relative_to(root) else resolved
    entry = _entry(root, token)
    with lock_directory(root, directory), locked(entry.with_suffix(".lock")):
        about = asdict(ActiveRun(token, str(inside), server, experiment))
        write_json(entry, {key: about[key] for key in ("directory", "server", "experiment")})
        yield


def orphans(root: Path) -> list[ActiveRun]:
    """The registered runs whose process is gone."""
    found = []
    for entry in sorted(_entry(root, "").parent.glob("[!.]*.json")):
        try:
            with _try_locked(entry.with_suffix(".lock")):
                about = read_json(entry)
        except (Timeout, InputError, OSError):  # at work; forgotten just now; another user's
            continue
        # Until version 0.1 `directory` was called `folder`.
        directory = about.get("directory", about.get("folder", ""))
        experiment = about.get("experiment", "")
        details = {key: about.get(key) for key in ("server", "status", "ended")}
        if isinstance(directory, str) and isinstance(experiment, str):
            found.append(ActiveRun(entry.stem, directory, experiment=experiment, **details))
    return found


@contextmanager
def _try_locked(path: Path) -> Iterator[None]:
    lock = file_lock(path)
    acquire(lock, 0)
    try:
        yield
    finally:
        lock.release()


def mark_orphans(root: Path) -> list[ActiveRun]:
    """Write into run.json of orphans that they were KILLED; returns those whose tracking server does not know it yet.

    An orphan of another user, whose files cannot be written, is left as it is.
    """
    remaining = []
    for orphan in orphans(root):
        with contextlib.suppress(OSError):
            if orphan.status is None:
                status, ended = _mark_killed(RunDirectory(root / orphan.directory), orphan.token)
                orphan = replace(orphan, status=status, ended=ended)
                about = asdict(orphan)
                write_json(_entry(root, orphan.token), {key: about[key] for key in about if key != "token"})
            if orphan.server is None:
                forget(root, orphan.token)
                continue
        remaining.append(orphan)
    return remaining


def forget(root: Path, token: str) -> None:
    """Remove a run from the register."""
    for suffix in (".json", ".lock"):
        _entry(root, token).with_suffix(suffix).unlink(missing_ok=True)


def _mark_killed(run: RunDirectory, token: str) -> tuple[str, int | None]:
    """How and when the run with this token ended, after run.json was changed from RUNNING to KILLED.

    The time is that of the last change of run.json. The directory may be gone, may not be writable, or may hold
    another run by now.
    """
    with contextlib.suppress(InputError, OSError):
        record = run.read_record()
        if record.token == token:
            if record.status == RUNNING:
                last_change = int(run.record.stat().st_mtime * 1000)
                record = replace(record, status=KILLED, failure=KILLED_REASON, ended=last_change)
                run.write_record(record)
            return record.status, record.ended
    return KILLED, None


def _entry(root: Path, token: str) -> Path:
    return internal_folder(root) / f"{token}.json"
