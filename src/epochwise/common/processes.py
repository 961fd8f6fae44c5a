"""What the command line and worker processes do alike: end on SIGTERM, and redirect what native code prints."""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import BinaryIO

SIGTERM_EXIT_CODE = 143  # 128 + 15, as a shell reports a process that SIGTERM ended


def exit_on_sigterm() -> None:
    """Let SIGTERM raise SystemExit in the main thread, so that a run can write how it ended."""
    signal.signal(signal.SIGTERM, _exit)


def _exit(*_: object) -> None:
    # A parent process and the system may both send SIGTERM. The second must not stop a run from writing its status.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(SIGTERM_EXIT_CODE)


@contextmanager
def redirected_output(stream: BinaryIO, descriptors: Sequence[int] = (1, 2)) -> Iterator[None]:
    """Send to `stream` what Python and native code write to file `descriptors` (1: stdout, 2: stderr)."""
    streams = {1: sys.stdout, 2: sys.stderr}
    saved = {descriptor: os.dup(descriptor) for descriptor in descriptors}
    for descriptor in descriptors:
        streams[descriptor].flush()
        os.dup2(stream.fileno(), descriptor)
    try:
        yield
    finally:
        for descriptor in descriptors:
            try:
                with suppress(OSError):  # a full disk; the rest of the lines go where those after this go
                    streams[descriptor].flush()
            finally:
                os.dup2(saved[descriptor], descriptor)
                os.close(saved[descriptor])
