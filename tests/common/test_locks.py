"""Locks: who waits is told for what and for whom, and a file system without locks is named."""

import errno
import fcntl
import os
import stat
import subprocess
import sys
import threading

import pytest
from conftest import ROOT, clean_environment
from filelock import Timeout

from epochwise.common import locks
from epochwise.common.directory_locks import lock_directory, try_lock_directory
from epochwise.common.locks import NoLocksError, acquire, file_lock, holder, locked
from epochwise.runs.active_runs import orphans, register_as_running
from epochwise.tracking.database import setup_lock
from epochwise.trajectory.states import StateStore

HOLD = """
import sys
from pathlib import Path
from epochwise.common.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    input()
"""


@pytest.fixture
def held(tmp_path):
    """A lock that another process holds until a line is written to it."""
    path = tmp_path / "held.lock"
    command = [sys.executable, "-c", HOLD, path]
    environment = clean_environment() | {"PYTHONPATH": str(ROOT / "src")}
    process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    process.lock_file = path
    yield process
    process.communicate("\n")


def test_who_waits_is_told_for_which_file_and_for_whom(held, monkeypatch, capsys):
    said = threading.Event()
    print_reason = locks._print_reason

    def say(path):
        print_reason(path)
        said.set()

    monkeypatch.setattr(locks, "PATIENCE", 0)
    monkeypatch.setattr(locks, "_print_reason", say)

    def free() -> None:
        said.wait()
        held.stdin.write("\n")
        held.stdin.flush()

    freeing = threading.Thread(target=free)
    freeing.start()
    with locked(held.lock_file):
        freeing.join()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"waiting for the lock {held.lock_file}, which process {held.pid} (")


def test_a_lock_that_is_free_says_nothing_and_one_that_is_not_waited_for_is_refused(held, tmp_path, capsys):
    with locked(tmp_path / "free.lock"):
        pass
    with pytest.raises(Timeout):
        acquire(file_lock(held.lock_file), 0)
    assert capsys.readouterr() == ("", "")
    assert holder(tmp_path / "free.lock") == holder(tmp_path / "none.lock") == "another process"


@pytest.fixture(params=[errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS])
def no_locks(request, monkeypatch):
    """A file system that answers flock(2) as NFS, CIFS or FUSE do without locks."""

    def refuse(*_):
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)


def test_a_file_system_without_locks_is_named_with_the_way_out(no_locks, tmp_path):
    folder = tmp_path / "outputs/run"
    waits = [
        (".epochwise/", lambda: lock_directory(tmp_path, folder)),
        (".epochwise/", lambda: try_lock_directory(tmp_path, folder)),
        (".epochwise/", lambda: register_as_running(tmp_path, "token", folder, None, "e")),
        ("data/cache/mnist/.lock", lambda: locked(tmp_path / "data/cache/mnist/.lock")),
        ("mlruns/.lock", lambda: setup_lock(tmp_path)),
    ]
    for name, wait in waits:
        with pytest.raises(NoLocksError) as refused, wait():
            pass
        message = str(refused.value)
        assert message.startswith(f"{tmp_path}/{name}") and "its file system has no locks" in message
        assert "a link to a folder on a disk of this machine" in message and "\n" not in message
    assert orphans(tmp_path) == []


def test_trainings_without_locks_are_warned_of_and_go_on(no_locks, tmp_path, capsys):
    with StateStore(tmp_path, {"a": 1}, 1).turn_to_train(1) as state:
        assert state is None
    (warning,) = capsys.readouterr().err.splitlines()
    assert "no lock; other processes may train the same epochs" in warning and "/.lock: its file system has" in warning


def test_any_other_error_names_the_file(monkeypatch, tmp_path):
    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(OSError, match=r"Input/output error: '.*/a\.lock'"):
        acquire(file_lock(tmp_path / "a.lock"))


@pytest.mark.parametrize("umask, mode", [(0o002, 0o664), (0o022, 0o644), (0o007, 0o660)])
def test_a_lock_may_be_taken_by_those_whom_the_umask_lets_write(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        with locked(tmp_path / "team.lock"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "team.lock").stat().st_mode) == mode
