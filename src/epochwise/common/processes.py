"""What command line and worker processes do alike: end on signals, print in any encoding, redirect native output."""

import codecs
import io
import os
import signal
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import BinaryIO

ENDING = (signal.SIGTERM, signal.SIGHUP)  # a terminal that is closed sends SIGHUP
SUBSTITUTES = str.maketrans({"·": "-", "…": "...", "×": "x", "→": "->", "±": "+-", "–": "-", "≥": ">=", "✓": "v"})
ERRORS = "epochwise"  # the name under which Python knows what is printed for characters that a terminal lacks


def exit_on_signals() -> None:
    """Let SIGTERM and SIGHUP raise SystemExit in the main thread, so that a run can write how it ended.

    The exit code is 128 and the signal's number, as a shell reports it: 143 and 129. A SIGHUP that is ignored stays
    ignored: `nohup` ignores it for its command.
    """
    signal.signal(signal.SIGTERM, _exit)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _exit)


def _exit(number: int, _: FrameType | None) -> None:
    # A parent process and the system may both send a signal. The second must not stop a run from writing its status.
    for other in ENDING:
        signal.signal(other, signal.SIG_IGN)
    if number == signal.SIGHUP:
        _leave_terminal()
    sys.exit(128 + number)


def _leave_terminal() -> None:
    """Send what is printed from now on nowhere: on a terminal that is gone, each line would be an error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        with suppress(OSError):  # it is closed
            if stat.S_ISCHR(os.fstat(descriptor).st_mode):  # os.isatty is false once the terminal is gone
                os.dup2(nowhere, descriptor)
    os.close(nowhere)


def print_in_any_encoding() -> None:
    """Let no character stop what is printed: one that the terminal or the file cannot show is replaced.

    Child processes that do not call this print a question mark for it.
    """
    codecs.register_error(ERRORS, _replacement)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ERRORS)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    if codecs.lookup(encoding).name != "utf-8":
        os.environ["PYTHONIOENCODING"] = f"{encoding}:replace"


def _replacement(error: UnicodeError) -> tuple[str | bytes, int]:
    """What stands for characters that an encoding lacks: the nearest in ASCII, or a question mark."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(SUBSTITUTES)
    return "".join(character if character.isascii() else "?" for character in text), error.end


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
