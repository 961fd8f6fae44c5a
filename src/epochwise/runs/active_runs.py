"""Which runs are at work. A run whose process was killed is found by the next run that starts.

A host sees by a lock whether a process of its own lives. Of a run on another host that shares the folder it knows only
the signs of life that the run gives: a lock of another host may not be visible here.
"""

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from filelock import Timeout

from epochwise.common.directory_locks import internal_folder, lock_directory
from epochwise.common.errors import InputError
from epochwise.common.files import read_json, write_json
from epochwise.common.hosts import host_name, kernel
from epochwise.common.locks import acquire, file_lock, locked
from epochwise.runs.directory import RunDirectory
from epochwise.runs.record import KILLED, RUNNING

KILLED_REASON = "its process was killed"  # the failure of a run that could not write one itself
SIGN_INTERVAL = 30.0  # seconds between two signs of life: the time of the run's entry is set anew
SILENCE = 600.0  # seconds without a sign after which a run on another host is dead; file servers lag by up to a minute


@dataclass(frozen=True)
class ActiveRun:
    """An entry of the register: where a run works, and to which tracking server it is logged, if to any."""

    token: str
    directory: str  # relative to the project's root if it is inside it
    server: str | None
    experiment: str
    host: str | None = None  # its name
    kernel: str | None = None  # see `common.hosts.kernel`; runs made before 0.1 have none, and are of this host
    status: str | None = None  # how an orphan ended, once that is known
    ended: int | None = None  # milliseconds since 1970


@contextmanager
def register_as_running(root: Path, token: str, directory: Path, server: str | None, experiment: str) -> Iterator[None]:
    """Lock the run directory and register the run, so that if this process dies the next one can mark it KILLED.

    A run that was registered in this directory before is over, for it no longer holds the directory's lock: its node
    may have died, and what schedules jobs has given the job to this one. The entry stays after the run; `forget`
    removes it once the tracking server knows how the run ended.
    """
    resolved, around = directory.resolve(), root.resolve()
    inside = str(resolved.relative_to(around) if resolved.is_relative_to(around) else resolved)
    entry = _entry(root, token)
    with lock_directory(root, directory), locked(entry.with_suffix(".lock")):
        for earlier, gone in _unlocked(root):
            if earlier.directory == inside and not gone:
                _end(root, earlier)
        about = asdict(ActiveRun(token, inside, server, experiment, host_name(), kernel()))
        write_json(entry, {key: about[key] for key in ("directory", "server", "experiment", "host", "kernel")})
        with _signs_of_life(entry):
            yield


@contextmanager
def _signs_of_life(entry: Path) -> Iterator[None]:
    """Set the time of an entry anew now and then, as long as this context lasts."""
    over = threading.Event()

    def give() -> None:
        while not over.wait(SIGN_INTERVAL):
            with contextlib.suppress(OSError):  # the file server is away; the next sign may reach it
                os.utime(entry)

    thread = threading.Thread(target=give, name="signs of life", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def orphans(root: Path) -> list[ActiveRun]:
    """The registered runs whose process is gone."""
    return [run for run, gone in _unlocked(root) if gone]


def _unlocked(root: Path) -> Iterator[tuple[ActiveRun, bool]]:
    """The registered runs of which this host sees no lock, and whether they are gone."""
    for entry in sorted(_entry(root, "").parent.glob("[!.]*.json")):
        try:
            with _try_locked(entry.with_suffix(".lock")):
                about = read_json(entry)
                gone = _is_gone(about, entry)
        except (Timeout, InputError, OSError):  # at work; forgotten just now; another user's
            continue
        # Until version 0.1 `directory` was called `folder`.
        directory = about.get("directory", about.get("folder", ""))
        experiment = about.get("experiment", "")
        details = {key: about.get(key) for key in ("server", "host", "kernel", "status", "ended")}
        if isinstance(directory, str) and isinstance(experiment, str):
            yield ActiveRun(entry.stem, directory, experiment=experiment, **details), gone


def _is_gone(about: Mapping[str, Any], entry: Path) -> bool:
    """Whether the process of a run is gone whose lock is not held as far as this host sees."""
    if about.get("status") or about.get("kernel", kernel()) == kernel():
        return True
    with tempfile.NamedTemporaryFile(dir=entry.parent, prefix=".") as new:
        now = os.stat(new.name).st_mtime  # by the clock of the file server, which set the entry's time, too
    return now - entry.stat().st_mtime > SILENCE


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
                orphan = _end(root, orphan)
            if orphan.server is None:
                forget(root, orphan.token)
                continue
        remaining.append(orphan)
    return remaining


def _end(root: Path, orphan: ActiveRun) -> ActiveRun:
    """Write how an orphan ended, into its run.json and into the register."""
    status, ended = _mark_killed(RunDirectory(root / orphan.directory), orphan.token)
    orphan = replace(orphan, status=status, ended=ended)
    about = asdict(orphan)
    write_json(_entry(root, orphan.token), {key: about[key] for key in about if key != "token"})
    return orphan


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
