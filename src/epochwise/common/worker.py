"""A worker: a process that runs one task after the other, so that what tasks import is imported once.

It can be killed, run out of memory or call exit without taking anything else with it, and it ends with its parent.
"""

import gc
import multiprocessing
import os
import signal
import sys
import textwrap
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import connection
from typing import Any, NamedTuple

from epochwise.common.errors import InputError, RunError

LONGEST_REASON = 500  # characters; TensorFlow's go on for kilobytes, which are in the log
GRACE = 30.0  # seconds for a run to tell how it ended before its process is killed


class Answer(NamedTuple):
    """What a task returned, or why it did not. `alive` is False if its process went with it."""

    value: Any
    failure: str = ""
    alive: bool = True


class Worker:
    """One process, started at once; it is `idle` until it is given a task and after its answer was taken."""

    def __init__(self):
        context = multiprocessing.get_context("spawn")  # a fork of a process with threads is not safe
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()  # so that the end of the process is the end of the connection
        self.task: Any = None

    @property
    def idle(self) -> bool:
        return self.task is None

    def give(self, task: Any, function: Callable, *arguments: Any) -> None:
        """Start `function`, which a module must have at its top level; `task` is the caller's name for it."""
        self.task = task
        with suppress(OSError):  # of a process that is gone, which `answer` tells
            self.connection.send((function, arguments))

    def answer(self) -> Answer:
        """Wait for what became of the task."""
        try:
            answer = Answer(*self.connection.recv())
        except (EOFError, OSError):
            self.process.join()
            self.connection.close()
            answer = Answer(None, _how(self.process.exitcode), alive=False)
        self.task = None
        return answer


def end(workers: list[Worker]) -> None:
    """Let idle processes go; interrupt busy ones as SIGTERM does, once, and kill those that then do not end."""
    for worker in workers:
        worker.connection.close()
        if not worker.idle:
            worker.process.terminate()
    for worker in workers:
        worker.process.join(GRACE)
        worker.process.kill()
        worker.process.join()


def answered(workers: list[Worker], seconds: float) -> list[Worker]:
    """Those of the busy workers that have an answer, after waiting for one for at most so long."""
    busy = {worker.connection: worker for worker in workers if not worker.idle}
    return [busy[ready] for ready in connection.wait(list(busy), seconds)]


def _work(theirs: connection.Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to every process of the terminal; the parent decides
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError, OSError):
        while True:
            function, arguments = theirs.recv()
            try:
                answer = (function(*arguments),)
            except Exception as error:  # a task may raise anything; the next one is none the worse for it
                answer = (None, _reason(error))
            theirs.send(answer)
            del function, arguments, answer
            if "tensorflow" in sys.modules:
                from epochwise.training.graphs import release

                release()
            gc.collect()  # a model is full of cycles, and the next one needs the room


def _leave(*_: object) -> None:
    """SIGTERM may come from the parent and from the system: the second one must not stop a run from telling its end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(143)


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os.kill(os.getpid(), signal.SIGTERM)


def _reason(error: Exception) -> str:
    said = textwrap.shorten(str(error), LONGEST_REASON, placeholder=" …")
    return said if isinstance(error, (InputError, RunError)) and said else f"{type(error).__name__}: {said}"


def _how(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return f"its process was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    return f"its process ended with exit code {code}"
