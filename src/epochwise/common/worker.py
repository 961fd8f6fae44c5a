"""A worker process that runs one task after the other, so that what the tasks import is imported once.

A worker can be killed or run out of memory without taking other processes with it, and it ends when its parent ends.
"""

import gc
import multiprocessing
import os
import signal
import textwrap
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection
from typing import Any

from epochwise.common.errors import InputError, RunError
from epochwise.common.processes import exit_on_signals, print_in_any_encoding

LONGEST_REASON = 500  # characters; a reason from TensorFlow can have thousands, which the job's log holds in full
GRACE = 30.0  # seconds that an interrupted run has to write how it ended before its process is killed


@dataclass(frozen=True)
class TaskResult:
    """What a task returned, or the reason why it failed. `alive` is False if the worker process ended with the task."""

    value: Any
    failure: str = ""
    alive: bool = True


class Worker:
    """One process, started at once. It is `idle` until it is given a task, and again after its result was taken."""

    def __init__(self, after_task: Callable[[], None] | None = None) -> None:
        """`after_task` is called in the process after each task, for example to free memory."""
        context = multiprocessing.get_context("spawn")  # forking a process that has threads is not safe
        self.connection, child_end = context.Pipe()
        self.process = context.Process(target=_run_tasks, args=(child_end, after_task), daemon=True)
        self.process.start()
        child_end.close()  # so that the connection ends when the process ends
        self.task: Any = None

    @property
    def idle(self) -> bool:
        return self.task is None

    def submit(self, task: Any, function: Callable[..., Any], *arguments: Any) -> None:
        """Start `function`, which must be defined at the top level of a module. `task` is the caller's name for it."""
        self.task = task
        with suppress(OSError):  # the process has ended; `result` reports that
            self.connection.send((function, arguments))

    def result(self) -> TaskResult:
        """Wait for the task to end and return its result."""
        try:
            result = TaskResult(*self.connection.recv())
        except (EOFError, OSError):
            self.process.join()
            self.connection.close()
            result = TaskResult(None, _exit_reason(self.process.exitcode), alive=False)
        self.task = None
        return result


def stop(workers: list[Worker]) -> None:
    """End idle processes; send busy ones SIGTERM once, and kill those that do not end within GRACE seconds."""
    for worker in workers:
        worker.connection.close()
        if not worker.idle:
            worker.process.terminate()
    for worker in workers:
        worker.process.join(GRACE)
        worker.process.kill()
        worker.process.join()


def wait_for_results(workers: list[Worker], seconds: float) -> list[Worker]:
    """The busy workers that have a result, after waiting at most `seconds` for the first one."""
    busy: dict[Any, Worker] = {worker.connection: worker for worker in workers if not worker.idle}
    return [busy[ready] for ready in connection.wait(list(busy), seconds)]


def _run_tasks(parent_end: Any, after_task: Callable[[], None] | None) -> None:
    for number in (signal.SIGINT, signal.SIGHUP):  # reach all processes of a terminal; the parent decides
        signal.signal(number, signal.SIG_IGN)
    exit_on_signals()
    print_in_any_encoding()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError, OSError):
        while True:
            function, arguments = parent_end.recv()
            result: tuple[Any, ...]
            try:
                result = (function(*arguments),)
            except Exception as error:  # a task may raise anything; the worker goes on with the next task
                result = (None, _failure_reason(error))
            parent_end.send(result)
            del function, arguments, result
            if after_task:
                after_task()
            gc.collect()  # a Keras model is full of reference cycles, and the next one needs the memory


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _failure_reason(error: Exception) -> str:
    reason = textwrap.shorten(str(error), LONGEST_REASON, placeholder=" …")
    return reason if isinstance(error, (InputError, RunError)) and reason else f"{type(error).__name__}: {reason}"


def _exit_reason(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return f"its process was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    return f"its process ended with exit code {code}"
