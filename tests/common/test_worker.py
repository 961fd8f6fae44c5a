"""Workers, with tasks that do nothing but fail in every way."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, clean_environment, wait_for

from epochwise.common.errors import InputError
from epochwise.common.files import write_text
from epochwise.common.worker import Worker, stop, wait_for_results

after_tasks = 0  # how often the hook was called in this process


def add(a, b):
    return a + b


def fail(error):
    raise error


def exit_with(code):
    os._exit(code)


def leave():
    sys.exit(3)


def run_until_stopped(folder: Path) -> None:
    """A run that is interrupted, and has time to write how it ended."""
    try:
        (folder / "started").touch()
        time.sleep(600)
    finally:
        write_text(folder / "status", "ended")  # renamed when it is whole, so who sees the file sees all of it


def run_with_a_slow_end(folder: Path) -> None:
    """A run whose end takes until a file says so."""
    try:
        (folder / "started").touch()
        time.sleep(600)
    finally:
        (folder / "ending").touch()
        wait_for((folder / "may end").exists)
        write_text(folder / "status", "ended")


def count_task() -> None:
    global after_tasks
    after_tasks += 1


def tasks_counted() -> int:
    return after_tasks


@pytest.fixture
def worker():
    made = Worker()
    yield made
    stop([made])


def test_tasks_run_one_after_the_other_in_one_process(worker):
    ids = set()
    for number in range(3):
        worker.submit(number, add, number, 10)
        result = worker.result()
        assert (result.value, result.failure) == (number + 10, "")
        assert worker.idle
        worker.submit("id", os.getpid)
        ids.add(worker.result().value)
    assert ids == {worker.process.pid} and os.getpid() not in ids


def test_a_hook_is_called_after_each_task():
    worker = Worker(after_task=count_task)
    counts = []
    for number in range(3):
        worker.submit(number, tasks_counted)
        counts.append(worker.result().value)
    stop([worker])
    assert counts == [0, 1, 2]


@pytest.mark.parametrize(
    "error, reason",
    [
        (ValueError("two\nlines"), "ValueError: two lines"),
        (InputError("seed must be 0 or more"), "seed must be 0 or more"),
        (MemoryError(), "MemoryError:"),
    ],
)
def test_what_a_task_raises_is_its_failure_and_the_worker_goes_on(worker, error, reason):
    worker.submit("bad", fail, error)
    result = worker.result()
    assert (result.failure.strip(), result.alive) == (reason, True)
    worker.submit("good", add, 1, 2)
    assert worker.result().value == 3


@pytest.mark.parametrize(
    "function, arguments, reason",
    [
        (exit_with, (9,), "its process ended with exit code 9"),
        (leave, (), "its process ended with exit code 3"),
        (signal.raise_signal, (signal.SIGKILL,), "its process was killed by SIGKILL (out of memory?)"),
        (signal.raise_signal, (signal.SIGSEGV,), "its process was killed by SIGSEGV"),
    ],
)
def test_the_end_of_the_process_is_the_failure_of_its_task(worker, function, arguments, reason):
    worker.submit("last", function, *arguments)
    assert wait_for_results([worker], 300) == [worker]
    result = worker.result()
    assert (result.failure, result.alive) == (reason, False)


def test_only_busy_workers_have_results(tmp_path):
    workers = [Worker(), Worker()]
    workers[1].submit("task", add, 1, 1)
    assert wait_for_results(workers, 300) == [workers[1]]
    assert workers[1].result().value == 2
    workers[0].submit("long", run_until_stopped, tmp_path)
    wait_for((tmp_path / "started").exists)  # until it runs, SIGTERM would find a process that is still starting
    assert wait_for_results(workers[:1], 0.1) == []
    stop(workers)
    assert [worker.process.exitcode for worker in workers] == [143, 0]


def test_a_stopped_task_has_time_to_write_how_it_ended(tmp_path):
    worker = Worker()
    worker.submit("run", run_until_stopped, tmp_path)
    wait_for((tmp_path / "started").exists)
    stop([worker])
    assert (tmp_path / "status").read_text() == "ended"
    assert worker.process.exitcode == 143


def test_a_worker_ends_with_its_parent(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        "import sys, time\n"
        "from pathlib import Path\n"
        "from test_worker import Worker, run_until_stopped\n"
        "if __name__ == '__main__':\n"
        "    worker = Worker()\n"
        "    worker.submit('run', run_until_stopped, Path(sys.argv[1]))\n"
        "    time.sleep(600)\n"
    )
    found = {"PYTHONPATH": os.pathsep.join(map(str, (Path(__file__).parent, ROOT / "tests", ROOT / "src")))}
    parent = subprocess.Popen([sys.executable, script, tmp_path], env=clean_environment() | found)
    wait_for((tmp_path / "started").exists)
    parent.kill()
    parent.wait()
    wait_for((tmp_path / "status").exists)
    assert (tmp_path / "status").read_text() == "ended"


def test_a_second_sigterm_does_not_stop_the_end(tmp_path):
    worker = Worker()
    worker.submit("run", run_with_a_slow_end, tmp_path)
    wait_for((tmp_path / "started").exists)
    worker.process.terminate()
    wait_for((tmp_path / "ending").exists)
    worker.process.terminate()
    (tmp_path / "may end").touch()
    stop([worker])
    assert (tmp_path / "status").read_text() == "ended"
