"""The jobs of a sweep in slots of a cluster that grows, shrinks and loses nodes, with a cluster that is none."""

import copy
from dataclasses import asdict, replace

import pytest
from made_sweeps import finish, make_sweep
from omegaconf import DictConfig

from epochwise.common.errors import InputError, RunError
from epochwise.common.hosts import kernel
from epochwise.config import overrides
from epochwise.config.compose import load
from epochwise.sweeps import ray_cluster, ray_executor
from epochwise.sweeps.grid import make_points
from epochwise.sweeps.host import Host
from epochwise.sweeps.ray_cluster import WARM_UP, SlotResult
from epochwise.sweeps.ray_executor import RayExecutor
from epochwise.sweeps.record import SweepRecord
from epochwise.trajectory.identity import PROCESS


class FakeSlot:
    def __init__(self, cluster: "FakeCluster", threads: int) -> None:
        self.cluster, self.threads, self.refused = cluster, threads, ""
        self.task = WARM_UP

    @property
    def idle(self) -> bool:
        return self.task is None and not self.refused

    def submit(self, task, method: str, *arguments) -> None:
        self.task, self.arguments = task, arguments

    def result(self) -> SlotResult:
        task, self.task = self.task, None
        if task is WARM_UP:
            return self.cluster.warm_up()
        return self.cluster.run(task, *self.arguments)


class FakeCluster:
    """Nodes by their CPUs. `ends` are how the first jobs end: None is done, else the failure of a slot that is lost."""

    def __init__(self, *cpus: int, ends: tuple[str | None, ...] = (), hosts: tuple[object, ...] = ()) -> None:
        self.cpus, self.ends, self.hosts = list(cpus), list(ends), list(hosts)
        self.opened, self.closed, self.order, self.most = [], [], [], 0

    def nodes(self) -> list[dict]:
        return [{"Resources": {"CPU": cpus}} for cpus in self.cpus]

    def processors(self) -> float:
        return sum(self.cpus)

    def slots(self, threads: int) -> int:
        return sum(cpus // threads for cpus in self.cpus)

    def open(self, threads: int, probe, tracked: bool) -> FakeSlot:
        assert probe.suffix == ".folder", "the lock that the command holds"
        self.opened.append(FakeSlot(self, threads))
        return self.opened[-1]

    def close(self, slots) -> None:
        self.closed += slots

    def wait(self, slots, seconds: float) -> list[FakeSlot]:
        self.most = max(self.most, len([slot for slot in slots if slot.task not in (None, WARM_UP)]))
        return [slot for slot in slots if slot.task is not None][-1:]

    def warm_up(self) -> SlotResult:
        given = self.hosts.pop(0) if self.hosts else {}
        if isinstance(given, str):
            return SlotResult({}, given)
        if isinstance(given, Host):
            return SlotResult(asdict(given))
        process = copy.deepcopy(PROCESS)
        process["processor"] |= given
        return SlotResult(asdict(Host("n1", kernel(), True, process)))

    def run(self, job, folder: str, number: int) -> SlotResult:
        self.order.append(number)
        end = self.ends.pop(0) if self.ends else None
        if end:
            self.cpus.pop()
            return SlotResult({}, end, lost=True)
        finish(job.run.path, number, fingerprint=SweepRecord.read(job.run.path.parent).points[number].fingerprint)
        return SlotResult({"failure": ""})


@pytest.fixture
def execute(project, monkeypatch):
    """Run a sweep on a cluster; returns its record as it is on disk afterwards."""
    monkeypatch.setattr(ray_executor, "POLL_INTERVAL", -1.0)

    def execute(cluster: FakeCluster, *typed: str, and_one: tuple[str, ...] = (), **more) -> SweepRecord:
        one = [["tracking=off", *and_one]] if and_one else []
        _, points = make_points([*overrides.grid(["tracking=off", *typed]), *one])
        sweep = make_sweep(project.path, [], *points, **more)

        def compose(number: int) -> DictConfig:
            return load(sweep.points[number].overrides)

        RayExecutor(sweep, cluster, None, compose).execute(range(len(sweep.points)))
        return SweepRecord.read(sweep.folder)

    return execute


def test_as_many_slots_are_asked_for_as_trajectories_can_use(execute):
    cluster = FakeCluster(2, 2)
    sweep = execute(cluster, "train.epochs=1,3", "seed=0,1")
    assert not sweep.failures and len(cluster.opened) == 2 and cluster.closed == cluster.opened
    assert sorted(cluster.order) == [0, 1, 2, 3] and sorted(cluster.order[:2]) != [0, 1], "the longer ones first"


def test_a_job_whose_node_is_lost_runs_again_up_to_three_times(execute, capsys):
    sweep = execute(FakeCluster(1, 1, 1, 1, ends=("dead", "dead", "dead", None)), "seed=0")
    assert not sweep.failures
    assert capsys.readouterr().out.count("lost: seed=0: its slot is gone (dead); it runs again (") == 3
    lost = execute(FakeCluster(1, 1, 1, 1, 1, ends=("dead",) * 4), "seed=1")
    assert lost.failures == {0: "its slot was lost 4 times (dead)"}


def test_nodes_that_come_are_used(execute):
    cluster = FakeCluster(1)
    wait = cluster.wait

    def grow(slots, seconds):
        cluster.cpus = [1, 1, 1]
        return wait(slots, seconds)

    cluster.wait = grow
    execute(cluster, "seed=range(0,6)")
    assert len(cluster.opened) == 3


def test_slots_have_as_many_cpus_as_their_jobs_threads(execute):
    cluster = FakeCluster(2)
    sweep = execute(cluster, "train.threads=1,2", "seed=0,1")
    assert not sweep.failures
    assert {slot.threads for slot in cluster.opened} == {1, 2}


def test_more_threads_than_any_node_has_are_refused(execute):
    with pytest.raises(InputError, match=r"train\.threads=3: no node .* the largest has 2"):
        execute(FakeCluster(2, 2), "train.threads=3", "seed=0")


def test_a_slot_of_another_kind_is_named_and_not_used(execute, capsys):
    cluster = FakeCluster(1, 1, hosts=({"model name": "Z80"},))
    sweep = execute(cluster, "seed=0,1")
    assert not sweep.failures
    assert "a slot is not used: n1 has another processor (model name: Z80, not" in capsys.readouterr().out
    mixed = FakeCluster(1, hosts=({"model name": "Z80"},))
    assert not execute(mixed, "seed=5", "sweep.mixed=true", mixed=True).failures


@pytest.mark.parametrize("cpus, threads", [(1, 1), (4, 3)])
def test_a_cluster_of_which_no_slot_can_be_used_ends_the_sweep(execute, cpus, threads):
    """Also if CPUs are left, but too few for another slot."""
    with pytest.raises(RunError, match="no slot of the Ray cluster can run the jobs: no module"):
        execute(FakeCluster(cpus, hosts=("no module",)), f"train.threads={threads}", "seed=0")


def test_a_node_that_comes_later_is_asked_what_the_first_ones_were(execute, monkeypatch, capsys):
    """Whether it sees the locks, has the libraries, and is the host of the database."""
    other = copy.deepcopy(PROCESS)
    other["versions"] |= {"numpy": "0"}
    hosts = Host("n2", kernel(), False, PROCESS), Host("n3", kernel(), True, other), Host("n4", "else", True, PROCESS)
    monkeypatch.setattr(ray_executor, "server_problem", lambda tracked: "mlflow.db is for one host")
    assert not execute(FakeCluster(1, 1, 1, 1, hosts=hosts), "seed=range(0,6)").failures
    printed = capsys.readouterr().out
    assert "a slot is not used: n2 does not see the locks" in printed
    assert "a slot is not used: n3 has another library version (numpy: 0, not" in printed
    assert "a slot is not used: mlflow.db is for one host" in printed


def test_a_slot_that_was_refused_is_asked_again_when_nodes_come_or_go(execute):
    """The node that was refused may be the one that went."""
    cluster = FakeCluster(1, 1, hosts=({"model name": "Z80"},))
    wait = cluster.wait

    def change(slots, seconds):
        if any(slot.refused for slot in slots):
            cluster.cpus = [1]
        return wait(slots, seconds)

    cluster.wait = change
    assert not execute(cluster, "seed=range(0,4)").failures
    assert any(slot.refused for slot in cluster.closed)


def test_a_slot_for_which_there_is_no_job_gives_its_cpus_to_one_that_waits(execute):
    """Ray has put the slots with one CPU on two nodes of two CPUs, so that none has room for one with two."""
    cluster = FakeCluster(2, 2)
    wait = cluster.wait

    def crowded(slots, seconds):
        small = [slot for slot in slots if slot.threads == 1]
        return wait([slot for slot in slots if slot.threads == 1 or len(small) < 2], seconds)

    cluster.wait = crowded
    sweep = execute(cluster, "train.threads=1", "seed=0,1", and_one=("train.threads=2", "seed=0"))
    assert not sweep.failures and cluster.order[-1] == 2


def test_waiting_for_a_cluster_without_room_is_said_once(execute, monkeypatch, capsys):
    monkeypatch.setattr(ray_executor, "PATIENCE", -1.0)
    cluster, looks = FakeCluster(1), iter(range(100))
    wait = cluster.wait
    cluster.wait = lambda slots, seconds: wait(slots, seconds) if next(looks) > 5 else []
    assert not execute(cluster, "seed=0").failures
    assert capsys.readouterr().out.count("no slot of the Ray cluster is ready; waiting") == 1


def test_a_slot_that_waits_for_processors_that_are_gone_is_given_up(execute):
    cluster = FakeCluster(1, 1)
    wait = cluster.wait

    def shrink(slots, seconds):
        del cluster.cpus[1:]
        return wait(slots[:1], seconds)

    cluster.wait = shrink
    sweep = execute(cluster, "seed=0,1")
    assert not sweep.failures and len(cluster.opened) == 2
    assert replace(sweep).failures == {}


SWEEP = ("run", "-m", "hydra/launcher=ray", "train.epochs=1,2", "tracking=off", "--dry-run")


def test_the_documented_resources_reach_ray_from_the_command_line(project, monkeypatch):
    asked = []

    class AskedCluster:
        def __init__(self, resources) -> None:
            asked.append(resources)

        def hosts(self) -> list[Host]:
            return [Host("n1", kernel(), True, PROCESS)]

    monkeypatch.setattr(ray_cluster, "RayCluster", AskedCluster)
    done = project.cli(*SWEEP, "hydra.launcher.resources={fast: 0.01}")
    assert (done.returncode, asked) == (0, [{"fast": 0.01}]), done.stderr


@pytest.mark.parametrize(
    "address",
    ["nowhere", "http://127.0.0.1:1", "127.0.0.1", "127.0.0.1:", ":6379", "a:b", "a:0", "a:65536", "ray://a:1"],
)
def test_an_address_of_another_form_is_refused_with_the_right_one(project, monkeypatch, address):
    monkeypatch.setenv("RAY_ADDRESS", address)
    done = project.cli(*SWEEP)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith(f"error: RAY_ADDRESS={address}: name HOST:PORT of the cluster, such as 10.0.0.5:6379")


@pytest.mark.parametrize("resources", ["", "fast", [1], {"CPU": 1}, {"fast": 0}, {"fast": True}])
def test_resources_that_are_none_are_refused(resources):
    with pytest.raises(InputError, match="hydra.launcher.resources"):
        ray_cluster.read_resources({"resources": resources})
