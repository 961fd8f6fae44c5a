"""Workers, with tasks that do nothing but fail in every way."""

import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT, clean_environment

from epochwise.common.errors import InputError
from epochwise.common.worker import Worker, answered, end


def add(a, b):
    return a + b


def fail(error):
    raise error


def exit_with(code):
    os._exit(code)


def leave():
    sys.exit(3)


def sleep(seconds):
    time.sleep(seconds)


def tell(path):
    """What SIGTERM leaves time for."""
    try:
        path.with_name("started").touch()
        time.sleep(60)
    finally:
        path.write_text("ended")


def slow_end(path):
    """A run that takes its time to tell how it ended."""
    try:
        path.with_name("started").touch()
        time.sleep(60)
    finally:
        time.sleep(1)
        path.write_text("ended")


def wait_for(path):
    for _ in range(600):
        if path.exists():
            return
        time.sleep(0.05)
    raise AssertionError(f"{path} did not appear")


@pytest.fixture
def worker():
    made = Worker()
    yield made
    end([made])


def test_tasks_run_one_after_the_other_in_one_process(worker):
    ids = set()
    for number in range(3):
        worker.give(number, add, number, 10)
        assert worker.answer()[:2] == (number + 10, "")
        assert worker.idle
        worker.give("id", os.getpid)
        ids.add(worker.answer().value)
    assert ids == {worker.process.pid} and os.getpid() not in ids


@pytest.mark.parametrize(
    "error, reason",
    [
        (ValueError("two\nlines"), "ValueError: two lines"),
        (InputError("seed must be 0 or more"), "seed must be 0 or more"),
        (MemoryError(), "MemoryError:"),
    ],
)
def test_what_a_task_raises_is_told_and_the_worker_goes_on(worker, error, reason):
    worker.give("bad", fail, error)
    answer = worker.answer()
    assert (answer.failure.strip(), answer.alive) == (reason, True)
    worker.give("good", add, 1, 2)
    assert worker.answer().value == 3


@pytest.mark.parametrize(
    "function, arguments, reason",
    [
        (exit_with, (9,), "its process ended with exit code 9"),
        (leave, (), "its process ended with exit code 3"),
        (signal.raise_signal, (signal.SIGKILL,), "its process was killed by SIGKILL (out of memory?)"),
        (signal.raise_signal, (signal.SIGSEGV,), "its process was killed by SIGSEGV"),
    ],
)
def test_a_process_that_goes_is_told(worker, function, arguments, reason):
    worker.give("last", function, *arguments)
    assert answered([worker], 30) == [worker]
    assert worker.answer()[1:] == (reason, False)


def test_only_busy_workers_answer():
    workers = [Worker(), Worker()]
    workers[1].give("task", add, 1, 1)
    assert answered(workers, 30) == [workers[1]]
    assert workers[1].answer().value == 2
    workers[0].give("long", sleep, 60)
    assert answered(workers[:1], 0.1) == []
    end(workers)
    assert [worker.process.exitcode for worker in workers] == [143, 0]


def test_the_end_leaves_a_task_the_time_to_tell_how_it_ended(tmp_path):
    worker = Worker()
    worker.give("told", tell, tmp_path / "told")
    wait_for(tmp_path / "started")
    end([worker])
    assert (tmp_path / "told").read_text() == "ended"
    assert worker.process.exitcode == 143


def test_a_worker_ends_with_its_parent(tmp_path):
    code = "import test_worker, pathlib, sys, time\nif __name__ == '__main__':\n    worker = test_worker.Worker()\n"
    code += "    worker.give('told', test_worker.tell, pathlib.Path(sys.argv[1]))\n    time.sleep(60)\n"
    script = tmp_path / "parent.py"
    script.write_text(code)
    found = {"PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), str(ROOT / "src")])}
    parent = subprocess.Popen([sys.executable, script, tmp_path / "told"], env=clean_environment() | found)
    wait_for(tmp_path / "started")
    parent.kill()
    parent.wait()
    wait_for(tmp_path / "told")
    assert (tmp_path / "told").read_text() == "ended"


def test_a_second_sigterm_does_not_stop_the_end(tmp_path):
    worker = Worker()
    worker.give("told", slow_end, tmp_path / "told")
    wait_for(tmp_path / "started")
    worker.process.terminate()
    time.sleep(0.3)
    end([worker])
    assert (tmp_path / "told").read_text() == "ended"
