"""What a host says of itself before jobs of a sweep run on it, and why it cannot run them.

A job's result depends on the processor and the kernel flags of the host that runs it, so a sweep is identified by
those of its hosts and not by those of the machine where the command was typed.
"""

import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import Timeout

from epochwise.common.directory_locks import internal_folder
from epochwise.common.errors import InputError
from epochwise.common.hosts import host_name, kernel, name_in_files
from epochwise.common.locks import NoLocksError, acquire, file_lock, locked
from epochwise.common.paths import main_root
from epochwise.trajectory.identity import KERNEL_VARIABLES, OF_A_HOST, PROCESS

PASSED = ("MLFLOW_", "AWS_", *KERNEL_VARIABLES)  # variables of the command that its jobs on other hosts need
WORDS = {"processor": "processor", "flags": "kernel flag", "versions": "library version", "code": "training code"}
LONGEST_DIFFERENCE = 200  # characters of what two hosts differ in


@dataclass(frozen=True)
class Host:
    """A host as a process on it sees it."""

    name: str
    kernel: str  # see `common.hosts.kernel`
    locked: bool  # whether the process saw that the command holds the lock of the probe
    process: dict[str, dict[str, str]]  # the host's `trajectory.identity.PROCESS`

    def as_plain(self) -> dict[str, Any]:
        return asdict(self)


@contextmanager
def held_probe() -> Iterator[Path]:
    """A file of this command's own whose lock it holds, so that processes on other hosts can try it."""
    path = internal_folder(main_root()) / f"probe-{name_in_files()}-{secrets.token_hex(4)}.lock"
    try:
        with locked(path):
            yield path
    finally:
        path.unlink(missing_ok=True)


def describe_host(probe: Path) -> Host:
    """This host. `probe` is the file whose lock the command holds."""
    lock = file_lock(probe)
    locked = False
    try:
        acquire(lock, 0)
    except Timeout:
        locked = True
    except NoLocksError:
        locked = False
    lock.release()
    return Host(host_name(), kernel(), locked, PROCESS)


def passed_environment() -> dict[str, str]:
    """The variables of this process that jobs on other hosts are given."""
    return {name: value for name, value in os.environ.items() if name.startswith(PASSED)}


def check_hosts(hosts: Sequence[Host], mixed: bool) -> dict[str, dict[str, str]]:
    """The parts of an identity that are the hosts' own: those of the first host.

    Raises InputError if a host does not see the command's locks, if one has other libraries or code than the command,
    or if two are of different kinds and the sweep is not `mixed`.
    """
    of_first = {part: hosts[0].process[part] for part in OF_A_HOST}
    for host in hosts:
        problem = problem_of(host, PROCESS | of_first, mixed)
        if problem:
            raise InputError(problem)
    return of_first


def problem_of(host: Host, wanted: Mapping[str, Any], mixed: bool) -> str:
    """Why a host cannot run jobs of trainings that are identified by `wanted`, with its name; nothing if it can."""
    if not host.locked:
        return (
            f"{host.name} does not see the locks that this host holds in the project's folder, so their runs could "
            "change each other's files; mount the file system so that locks hold between hosts"
        )
    problem = difference(wanted, host.process, ("versions", "code"))
    if problem:
        return f"{host.name} has another {problem} than this host; give all hosts one environment"
    problem = "" if mixed else difference(wanted, host.process, OF_A_HOST)
    if problem:
        return (
            f"{host.name} has another {problem} than the others: their results differ in the last bits, so they share "
            "no epochs; choose hosts of one kind, or sweep.mixed=true, which gives each kind its own"
        )
    return ""


def difference(one: Mapping[str, Any], other: Mapping[str, Any], parts: Sequence[str]) -> str:
    """The first of these parts in which two identities differ, with both values; nothing if they are equal."""
    for part in parts:
        keys = sorted({*one[part], *other[part]})
        for key in keys:
            before, after = one[part].get(key), other[part].get(key)
            if before != after:
                return f"{WORDS[part]} ({key}: {_short(after)}, not {_short(before)})"
    return ""


def _short(value: object) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= LONGEST_DIFFERENCE else f"{text[:LONGEST_DIFFERENCE]}…"
