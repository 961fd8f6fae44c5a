"""SIGHUP ends a process as SIGTERM does, unless it is ignored, as under nohup; also on a terminal that is gone."""

import os
import pty
import signal
import subprocess
import sys

import pytest
from conftest import ROOT, clean_environment, wait_for

from epochwise.common.worker import Worker, stop

# Waits for a signal, then writes how it ended, after printing to a terminal that may be gone.
WAITING = """
import sys, time
from pathlib import Path
from epochwise.common.processes import exit_on_signals
exit_on_signals()
try:
    Path(sys.argv[1], "started").touch()
    time.sleep(600)
finally:
    print("stopped after epoch 3", flush=True)
    print("warning: not published", file=sys.stderr, flush=True)
    Path(sys.argv[1], "status").write_text("KILLED")
"""


def start(folder, *before: str, **options) -> subprocess.Popen:
    environment = clean_environment() | {"PYTHONPATH": str(ROOT / "src")}
    process = subprocess.Popen([*before, sys.executable, "-c", WAITING, folder], env=environment, **options)
    wait_for((folder / "started").exists)
    return process


@pytest.mark.parametrize("number, code", [(signal.SIGHUP, 129), (signal.SIGTERM, 143)])
def test_a_process_has_time_to_write_how_it_ended(tmp_path, number, code):
    process = start(tmp_path, stdout=subprocess.PIPE)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert (process.returncode, output) == (code, b"stopped after epoch 3\n")
    assert (tmp_path / "status").read_text() == "KILLED"


def test_sighup_does_not_end_what_nohup_started(tmp_path):
    process = start(tmp_path, "nohup", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)  # comes after it
    assert process.wait(timeout=60) == 143
    assert (tmp_path / "status").read_text() == "KILLED"


def test_a_terminal_that_is_closed_costs_no_result(tmp_path):
    """Each line that is printed on it is an error (EIO), also while a run writes how it ended."""
    ours, theirs = pty.openpty()
    process = start(tmp_path, "setsid", "--ctty", "--wait", stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    os.close(ours)  # hangs up: the system sends SIGHUP
    process.wait(timeout=60)
    wait_for((tmp_path / "status").exists)
    assert (tmp_path / "status").read_text() == "KILLED"


def is_ignored(number: signal.Signals) -> bool:
    return signal.getsignal(number) == signal.SIG_IGN


def test_workers_leave_sighup_to_their_parent():
    """A terminal that is closed sends SIGHUP to all its processes. The parent ends its workers with time to write."""
    worker = Worker()
    worker.submit("look", is_ignored, signal.SIGHUP)
    assert worker.result().value is True
    os.kill(worker.process.pid, signal.SIGHUP)
    worker.submit("look again", is_ignored, signal.SIGTERM)
    assert worker.result().value is False
    stop([worker])


def test_a_worker_of_a_sweep_under_nohup_still_ends_on_sigterm(tmp_path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        worker = Worker()
        worker.submit("look", is_ignored, signal.SIGHUP)
        assert worker.result().value is True
        worker.process.terminate()
        worker.process.join(60)
        assert worker.process.exitcode == 143
    finally:
        signal.signal(signal.SIGHUP, before)
