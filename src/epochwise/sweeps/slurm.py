"""SLURM by its own commands: `srun` asks a node, `sbatch` submits arrays, `squeue` says how their elements are.

Nothing of SLURM's accounting is needed.
"""

import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import epochwise
from epochwise.common.directory_locks import internal_folder
from epochwise.common.errors import InputError, RunError, one_line
from epochwise.common.files import read_json, write_json
from epochwise.common.paths import find_root, main_root
from epochwise.sweeps.host import Host, difference, held_probe
from epochwise.trajectory.identity import PROCESS

ENDED = (  # states of an element that runs no more; one that is to run again on another node is PENDING
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"),
    *("REVOKED", "SPECIAL_EXIT", "TIMEOUT"),
)
KEYS = ("partition", "time", "account", "constraint", "at_once", "sbatch")  # of conf/hydra/launcher/slurm.yaml
# Why an element waits as a rule; BeginTime is the pause after the death of its node.
USUAL = ("None", "Priority", "Resources", "BeginTime", "Cleaning", "Dependency", "JobArrayTaskLimit", "Prolog")
CHOICES = ("partition", "account", "constraint")  # keys that choose nodes
# What sbatch takes as --time: minutes, MM:SS, HH:MM:SS, D-HH, D-HH:MM, D-HH:MM:SS, or no limit.
TIME = re.compile(r"\d+(:\d+){0,2}|\d+-\d+(:\d+){0,2}|UNLIMITED|INFINITE", re.IGNORECASE | re.ASCII)
UNCONFIGURED = "Could not establish a configuration source"  # says a command of SLURM's that finds no slurm.conf
OWN_OPTIONS = (
    *("array", "job-name", "output", "error", "cpus-per-task", "chdir", "parsable", "wrap", "open-mode", "export"),
    *("clusters", "test-only", "wait"),  # with these the array would not be found again, or not be left alone
)
# Options of sbatch about when and how the array runs: srun, which asks a node, has no such options or would wait.
NOT_OF_A_NODE = (
    *("batch", "begin", "comment", "deadline", "dependency", "get-user-env", "hold", "ignore-pbs"),
    *("kill-on-invalid-dep", "mail-type", "mail-user", "nice", "no-requeue", "priority", "requeue", "signal"),
)
KEPT = (
    "SLURM_CONF",
    "SLURM_JWT",
)  # variables that name a cluster; the others are those of a job that this may be typed in
AT_ONCE = 5  # seconds that a node may take to be free if one was asked before
LONGEST_REASON = 300  # characters of what a command of SLURM's says
DEFAULT_MAX_ARRAY = 1001  # SLURM's own default of MaxArraySize, which is one more than the largest index


@dataclass(frozen=True)
class Slurm:
    """The cluster, and the options of conf/hydra/launcher/slurm.yaml."""

    flags: tuple[str, ...]  # by which nodes are chosen, for srun and sbatch
    more: tuple[str, ...] = ()  # for sbatch only
    time: str | None = None
    at_once: int = 0

    @staticmethod
    def of(options: Mapping[str, Any]) -> "Slurm":
        """Raises InputError for a key that there is not, and an option that this launcher sets or that has no value."""
        for key in options:
            if key not in KEYS:
                raise InputError(
                    f"hydra.launcher.{key}: no such key; an option of sbatch goes into hydra.launcher.sbatch"
                )
        flags, more = list[str](), list[str]()
        given = {} if options.get("sbatch") is None else options["sbatch"]
        if not isinstance(given, dict):
            raise InputError(f"hydra.launcher.sbatch must be options by name, such as {{mem: 4G}}, got {given!r}")
        for name in CHOICES:
            value = options.get(name)
            if value == "" or isinstance(value, (bool, dict, list)):
                raise InputError(
                    f"hydra.launcher.{name} must be a text, or null for what the cluster does, got {value!r}"
                )
            flags += [f"--{name}={value}"] if value is not None else []
        for name, value in given.items():
            if name in (*CHOICES, "time"):
                raise InputError(f"hydra.launcher.sbatch.{name}: it has a key of its own, hydra.launcher.{name}")
            if name in OWN_OPTIONS or isinstance(value, (dict, list)):
                raise InputError(f"hydra.launcher.sbatch.{name}: this launcher sets it, or it is no option of sbatch")
            if value is not False and value is not None:
                option = f"--{name}" if value is True else f"--{name}={value}"
                (more if name in NOT_OF_A_NODE else flags).append(option)
        at_once = 0 if options.get("at_once") is None else options["at_once"]
        if isinstance(at_once, bool) or not isinstance(at_once, int) or at_once < 0:
            raise InputError(f"hydra.launcher.at_once must be a whole number of 0 or more, got {at_once!r}")
        time = options.get("time")
        if time is not None and (isinstance(time, bool) or not TIME.fullmatch(str(time))):
            forms = "minutes, MM:SS, HH:MM:SS, D-HH, D-HH:MM or D-HH:MM:SS"
            raise InputError(f"hydra.launcher.time must be {forms}, or null for what the cluster does, got {time!r}")
        return Slurm(tuple(flags), tuple(more), None if time is None else str(time), at_once)

    def hosts(self) -> list[Host]:
        """A node as a process on it sees it.

        `srun` waits for one the first time. It is remembered until a job finds another one, for the same command must
        find the same runs again. After that any node is asked only whether it sees the command's locks, if one is free
        at once. Raises InputError if SLURM is not installed or refuses the options.
        """
        remembered = _remembered(self.flags)
        if not remembered:
            print("asking a node of the SLURM cluster for its processor; srun waits until one is free", flush=True)
            try:
                host = self._ask([])
            except RunError as error:  # of wrong options, as a rule
                raise InputError(str(error)) from error
            if host.locked:
                write_json(_memory(self.flags), host.as_plain())
            return [host]
        try:
            host = self._ask([f"--immediate={AT_ONCE}"])
        except RunError as error:
            print(f"no node could be asked whether it sees this host's locks; one did before ({error})", flush=True)
            return [remembered]
        return [remembered if host.locked else host]

    def _ask(self, how: Sequence[str]) -> Host:
        """A node, asked by srun. Raises RunError if none answers, and InputError if the answer is no host."""
        command = ["srun", "--quiet", "--ntasks=1", "--input=none", "--job-name=epochwise-host", *self.flags, *how]
        with held_probe() as probe:
            command += [sys.executable, "-m", "epochwise.sweeps.slurm_element", "--host", str(probe)]
            try:
                printed = _call(command)
            except RunError as error:
                if UNCONFIGURED in str(error):
                    raise InputError(
                        "SLURM is not configured on this host: name the cluster's slurm.conf in SLURM_CONF, or put it "
                        "where SLURM looks for it, such as /etc/slurm/slurm.conf"
                    ) from error
                raise
        try:
            return Host(**json.loads(printed.splitlines()[-1]))
        except (ValueError, TypeError, IndexError) as error:
            raise InputError(f"a node of the SLURM cluster cannot run jobs: {one_line(printed)[:300]}") from error

    def submit(self, batch: Path, name: str, elements: int, threads: int) -> str:
        """Submit an array that runs the elements of a batch file; returns its id. Raises RunError if SLURM refuses."""
        limit = f"%{self.at_once}" if self.at_once else ""
        log = str(batch.with_suffix("")).replace("%", "%%") + "-%a.log"
        options = [f"--array=0-{elements - 1}{limit}", f"--job-name={name}", f"--cpus-per-task={threads}"]
        options += ["--requeue", "--ntasks=1", "--open-mode=append", f"--output={log}", f"--chdir={find_root()}"]
        options += ["--export=ALL"]  # the tracking server and the kernel flags, whatever SBATCH_EXPORT says
        options += [f"--time={self.time}"] if self.time else []
        call = [sys.executable, "-X", "utf8", "-m", "epochwise.sweeps.slurm_element", str(batch)]
        script = f"#!/bin/sh\nexport PYTHONPATH={shlex.quote(_sources())}\nexec {shlex.join(call)}\n"
        return _call(["sbatch", "--parsable", *options, *self.flags, *self.more], script).strip().partition(";")[0]

    def states(self, names: Sequence[str]) -> dict[tuple[str, int], str] | None:
        """The state of each element that SLURM still knows, by the name of its array; None if SLURM does not answer.

        SLURM forgets an element some minutes after its end (MinJobAge). The state of one that waits for something
        unusual, such as an administrator's release, is `PENDING (why)`.
        """
        command = ["squeue", "--noheader", "--array", "--states=all", f"--name={','.join(names)}"]
        command += ["--format=%j|%K|%T|%r"]
        try:
            printed = _call(command)
        except RunError:
            return None
        found = {}
        for line in printed.splitlines():
            name, index, state, reason = line.split("|", 3)
            if index.isdecimal():
                unusual = state == "PENDING" and reason not in USUAL
                found[name, int(index)] = f"{state} ({reason})" if unusual else state
        return found

    @staticmethod
    def max_array() -> int:
        """How many elements an array may have."""
        for line in _call(["scontrol", "show", "config"]).splitlines():
            key, _, value = line.partition("=")
            if key.strip() == "MaxArraySize" and value.strip().isdecimal():
                return int(value) - 1
        return DEFAULT_MAX_ARRAY - 1


def check_configuration() -> None:
    """Raise InputError if SLURM_CONF names no file that can be read: SLURM's commands would try for a minute."""
    named = os.environ.get("SLURM_CONF")
    if named and not (os.path.isfile(named) and os.access(named, os.R_OK)):
        raise InputError(f"SLURM_CONF={named}: no file that can be read; name the slurm.conf of the cluster")


def forget_hosts() -> None:
    """Ask a node anew before the next sweep: a job has run on one that is not as the one that was asked."""
    for path in internal_folder(main_root()).glob("slurm-host-*.txt"):
        path.unlink(missing_ok=True)


def _remembered(flags: Sequence[str]) -> Host | None:
    """What a node has said of itself when it was asked with the same options, if libraries and code are the same."""
    try:
        host = Host(**read_json(_memory(flags)))
        usable = not difference(PROCESS, host.process, ("versions", "code"))
    except (InputError, TypeError, KeyError):
        return None
    return host if usable else None


def _memory(flags: Sequence[str]) -> Path:
    """The file that remembers a node. Its suffix keeps it apart from the register of runs."""
    digest = hashlib.sha256(json.dumps(list(flags)).encode()).hexdigest()[:16]
    return internal_folder(main_root()) / f"slurm-host-{digest}.txt"


def _sources() -> str:
    """The folder of this package's code, for processes on other hosts."""
    return str(Path(epochwise.__file__).parent.parent)


def _call(command: Sequence[str], text: str = "") -> str:
    """What a command of SLURM's prints. Raises InputError if it is not installed, and RunError if it fails."""
    outer = {name for name in os.environ if name.startswith(("SLURM_", "SQUEUE_")) and name not in KEPT}
    environment = {name: value for name, value in os.environ.items() if name not in outer}
    environment["PYTHONPATH"] = _sources()
    try:
        done = subprocess.run(
            command, input=text, env=environment, capture_output=True, text=True, errors="replace", check=False
        )
    except FileNotFoundError as error:
        raise InputError(f"hydra/launcher=slurm needs SLURM's commands: {command[0]} is not installed here") from error
    if done.returncode:
        said = re.sub(rf"^{re.escape(command[0])}: (error: )?", "", done.stderr or done.stdout, flags=re.MULTILINE)
        reason = one_line(said)[-LONGEST_REASON:] or f"exit code {done.returncode}"
        raise RunError(f"{command[0]}: {reason}")
    return done.stdout
