"""A Ray cluster: its nodes, and slots on them. Ray is an optional dependency, imported when a cluster is asked for.

Address and token of the cluster are Ray's own settings: RAY_ADDRESS, RAY_AUTH_MODE and RAY_AUTH_TOKEN.
"""

import logging
import math
import os
import re
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import epochwise
from epochwise.common.errors import InputError, one_line
from epochwise.common.paths import find_root
from epochwise.common.processes import exit_on_signals
from epochwise.common.worker import GRACE
from epochwise.sweeps.host import PASSED, Host, held_probe, passed_environment
from epochwise.sweeps.ray_slot import RaySlot

ADDRESS = re.compile(r"[^\s/]+:[0-9]{1,5}")  # of a cluster, as Ray takes it beside "auto"
PORTS = range(1, 65536)
WARM_UP = "warm up"  # the task of a slot until it is ready
CONNECT_TIMEOUT = 5.0  # seconds
OF_RAY = ("CPU", "GPU", "memory", "object_store_memory")  # resources that Ray counts itself
ANSWER_TIMEOUT = 120.0  # seconds that a node has to say what it is; Ray starts a process there, which imports


@dataclass(frozen=True)
class SlotResult:
    """What a slot returned. It is `lost` if the slot has gone, with the reason as `failure`; one that could not begin
    where Ray has put it is not.
    """

    value: dict[str, Any]
    failure: str = ""
    lost: bool = False


class Slot:
    """A slot that was asked for. It is `idle` once it is ready, until it is given a job, and after its result."""

    def __init__(self, actor: Any, threads: int) -> None:  # noqa: ANN401  # Ray's handle
        self.actor, self.threads = actor, threads
        self.task: Any = None  # the caller's name for what the slot does
        self.reference: Any = None  # Ray's, of the result
        self.refused = ""  # why it is not used; it keeps its processors, so that no other slot is begun on them

    @property
    def idle(self) -> bool:
        return self.task is None and not self.refused

    def submit(self, task: Any, method: str, *arguments: object) -> None:  # noqa: ANN401
        self.task, self.reference = task, getattr(self.actor, method).remote(*arguments)

    def result(self) -> SlotResult:
        """Wait for the task to end, and return its result."""
        import ray

        self.task = None
        try:
            value = ray.get(self.reference)
        except ray.exceptions.RayTaskError as error:
            return SlotResult({}, one_line(error.cause or error))
        except ray.exceptions.RayError as error:  # the actor, its node or the whole cluster is gone
            return SlotResult({}, _reason(error), lost=not _never_began(error))
        return SlotResult(value, value.get("failure", ""))


class RayCluster:
    """The cluster that this process is connected to."""

    def __init__(self, resources: Mapping[str, float]) -> None:
        """Connect. `resources` are what each slot needs beside processors, by which nodes can be chosen.

        Raises InputError if Ray is not installed or no cluster answers.
        """
        self.resources = dict(resources)
        _connect()

    def nodes(self) -> list[dict[str, Any]]:
        """Ray's descriptions of the nodes that live and have room for a slot: a head without CPUs runs no jobs."""
        import ray

        return [node for node in ray.nodes() if node["Alive"] and self._room(node, 1)]

    def hosts(self) -> list[Host]:
        """All nodes as processes on them see them. Raises InputError if one cannot run jobs, with its name."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as OnNode

        nodes = self.nodes()
        if not nodes:
            wanted = ", ".join(f"{name}: {much:g}" for name, much in ({"CPU": 1.0} | self.resources).items())
            raise InputError(f"no node of the Ray cluster has {{{wanted}}}, which a slot needs at least")
        with held_probe() as probe:
            slots = []
            for node in nodes:
                place = OnNode(node["NodeID"], soft=False)
                slots.append(Slot(self._actor().options(num_cpus=0, scheduling_strategy=place).remote(*_given()), 0))
                slots[-1].submit(node.get("NodeName") or node["NodeManagerAddress"], "describe", str(probe))
            ray.wait([slot.reference for slot in slots], num_returns=len(slots), timeout=ANSWER_TIMEOUT)
            return [self._host(slot) for slot in slots]

    def processors(self) -> float:
        """The processors of all nodes, whoever uses them."""
        return float(sum(node["Resources"].get("CPU", 0) for node in self.nodes()))

    def slots(self, threads: int) -> int:
        """How many jobs with so many threads the nodes can run at once."""
        return sum(self._room(node, threads) for node in self.nodes())

    def _room(self, node: Mapping[str, Any], threads: int) -> int:
        """How many slots fit on a node. Ray counts in steps of a ten-thousandth."""
        wanted = {"CPU": threads, **self.resources}
        return min(int(node["Resources"].get(name, 0) / much + 1e-6) for name, much in wanted.items())

    def open(self, threads: int, probe: Path, tracked: bool) -> Slot:
        """Ask for a slot, whose first task is WARM_UP. It waits until Ray has processors for it.

        The command must hold the lock of the file `probe` until the slot is ready.
        """
        options = {"num_cpus": threads, "resources": self.resources, "max_concurrency": 2}
        slot = Slot(self._actor().options(**options).remote(*_given()), threads)
        slot.submit(WARM_UP, "warm_up", str(probe), tracked)
        return slot

    def wait(self, slots: Sequence[Slot], seconds: float) -> list[Slot]:
        """Those of `slots` that have a result, after waiting at most `seconds` for the first one."""
        import ray

        busy = {slot.reference: slot for slot in slots if slot.task is not None}
        if not busy:
            time.sleep(seconds)
            return []
        ready, _ = ray.wait(list(busy), num_returns=1, timeout=seconds)
        if ready:
            ready, _ = ray.wait(list(busy), num_returns=len(busy), timeout=0)
        return [busy[reference] for reference in ready]

    def close(self, slots: Sequence[Slot]) -> None:
        """End slots. Runs that are at work there get the time to write that they were KILLED."""
        import ray

        with suppress(ray.exceptions.RayError):  # the whole cluster is gone, and the slots with it
            stopping = [slot.actor.stop.remote() for slot in slots if slot.task not in (None, WARM_UP)]
            if stopping:
                ray.wait(stopping, num_returns=len(stopping), timeout=GRACE)
            for slot in slots:
                ray.kill(slot.actor)

    def _actor(self) -> Any:  # noqa: ANN401  # Ray's
        import ray

        return ray.remote(RaySlot)

    def _host(self, slot: Slot) -> Host:
        import ray

        try:
            described = ray.get(slot.reference, timeout=0)
        except ray.exceptions.GetTimeoutError:
            described = {"failure": f"no answer for {ANSWER_TIMEOUT:.0f} s"}
        except ray.exceptions.RayError as error:
            described = {"failure": _reason(error)}
        ray.kill(slot.actor)
        if "failure" in described:
            raise InputError(f"node {slot.task} of the Ray cluster cannot run jobs: {one_line(described['failure'])}")
        return Host(**described | {"name": slot.task})


def read_resources(options: Mapping[str, Any]) -> dict[str, float]:
    """What each slot needs beside processors, of the options of conf/hydra/launcher/ray.yaml.

    Raises InputError for an option that there is not, or a resource that is none.
    """
    for key in options:
        if key != "resources":
            raise InputError(f"hydra.launcher.{key}: the launcher ray has no such key; it has resources")
    given = {} if options.get("resources") is None else options["resources"]
    if not isinstance(given, dict):
        raise InputError(f"hydra.launcher.resources must be amounts by name, such as {{fast: 1}}, got {given!r}")
    for name, much in given.items():
        if name in OF_RAY:
            raise InputError(f"hydra.launcher.resources.{name}: Ray counts it itself; a slot has train.threads CPUs")
        if isinstance(much, bool) or not isinstance(much, int | float) or not 0 < much < math.inf:
            raise InputError(f"hydra.launcher.resources.{name} must be an amount greater than 0, got {much!r}")
    return {str(name): float(much) for name, much in given.items()}


def _connect() -> None:
    address = os.environ.get("RAY_ADDRESS", "")
    if address and address != "auto" and not (ADDRESS.fullmatch(address) and int(address.rpartition(":")[2]) in PORTS):
        more = ", and type the command on a node of it" if address.startswith("ray://") else ""
        right = f"name HOST:PORT of the cluster, such as 10.0.0.5:6379{more}"
        raise InputError(f"RAY_ADDRESS={address}: {right}")
    try:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray
    except ImportError as error:
        raise InputError(f"hydra/launcher=ray needs Ray: pip install 'epochwise[ray]' ({error})") from error
    if ray.is_initialized():
        return
    where = f"RAY_ADDRESS={address}" if address else "no RAY_ADDRESS, and none on this machine"
    _check_address(address, where)
    environment = {"env_vars": {"PYTHONPATH": str(Path(epochwise.__file__).parent.parent)}}
    try:
        ray.init("auto", log_to_driver=False, logging_level=logging.ERROR, runtime_env=environment)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise InputError(_no_answer(where, error)) from error
    exit_on_signals()  # Ray has put its own handler in place, which ends without a word


def _check_address(address: str, where: str) -> None:
    """Raise InputError if nothing listens there: Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_TIMEOUT).close()
    except OSError as error:
        raise InputError(_no_answer(where, error)) from error


def _no_answer(where: str, error: Exception) -> str:
    return f"no Ray cluster answers ({where}); `ray start --head` starts one ({one_line(error)[:200]})"


def _given() -> tuple[str, dict[str, str], list[str]]:
    """What each slot is given: the project, and the variables of this process that decide results or name servers."""
    return str(find_root()), passed_environment(), list(PASSED)


def _reason(error: Exception) -> str:
    """The sentence that matters of one of Ray's errors, which go on for many lines."""
    lines = [line for line in map(one_line, str(error).splitlines()) if line]
    return lines[-1 if _never_began(error) else 0] if lines else type(error).__name__


def _never_began(error: Exception) -> bool:
    """Whether an actor's process was there but could not make the actor, as where a library is missing."""
    return bool(getattr(error, "actor_init_failed", False))
