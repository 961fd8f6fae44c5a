"""Which job of a sweep is run next, so that each epoch is trained once and workers wait as little as possible."""

import bisect
import heapq
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from epochwise.config.schema import PATIENCE
from epochwise.runs.directory import RunDirectory
from epochwise.sweeps.record import Point
from epochwise.trajectory.ending import possible_ends
from epochwise.trajectory.identity import segments, trajectory_key
from epochwise.trajectory.remote_states import Store, all_kept_epochs, kept_epochs
from epochwise.trajectory.states import ends_in_store

Epochs = set[tuple[str, int]]  # a trajectory's key, and an epoch
Rank = tuple[bool, int, int]  # whether a job trains, minus its epochs to train, its number: the lowest comes first


@dataclass(frozen=True)
class Job:
    """A point that is to be run, and where. `store` is None if the run reuses no states."""

    number: int
    name: str
    run: RunDirectory
    threads: int
    epochs: int  # at most, if it has a patience
    segments: list[tuple[str, int]]  # the key and the last epoch of each, see `trajectory.identity.segments`
    store: Store | None
    patience: int | None = None

    @staticmethod
    def of(point: Point, run: RunDirectory, store: Store | None) -> "Job":
        """The job of a point whose data is prepared."""
        threads, epochs = point.parameters["train.threads"], point.parameters["train.epochs"]
        parts = _keys(point.parameters, str(point.data_sha256)) if store else [(f"job {point.job}", epochs)]
        return Job(point.job, point.name, run, threads, epochs, parts, store, point.parameters[PATIENCE])

    @property
    def ends(self) -> tuple[int, int]:
        """The first and the last epoch with which the run may end, as far as the states in the store tell."""
        key, last = self.segments[-1]
        return _ends(key, last, self.patience, self.store)


def distinct(points: Sequence[Point]) -> list[Point]:
    """The points whose data is prepared; of several that are the same run, only the first."""
    first = {point.fingerprint: point for point in reversed(points)}
    return [point for point in points if point.fingerprint and first[point.fingerprint] is point]


def untrained(job: Job) -> Epochs:
    """The epochs that are to be trained for `job`, because the store has no state that is as far.

    Of a run with a patience these are the most that there may be.
    """
    return _untrained(job.segments, job.patience, job.store)


def surely_untrained(job: Job) -> Epochs:
    """Those of the `untrained` epochs of a job that its patience cannot spare."""
    first, _ = job.ends
    return {(key, epoch) for key, epoch in untrained(job) if epoch <= first}


def count_untrained(jobs: Iterable[Job], kept: "_Kept | None" = None) -> int:
    """How many epochs are to be trained for all of `jobs`, at most. An epoch that several jobs need counts once."""
    epochs, kept = Epochs(), kept or _Kept(whole=True)
    for job in jobs:
        epochs |= _untrained(job.segments, job.patience, job.store, kept)
    return len(epochs)


def epochs_to_train(parameters: Mapping[str, Any], data_sha256: str, store: Store | None) -> int:
    """How many epochs are to be trained for one run, at most."""
    return len(missing_epochs(parameters, data_sha256, store))


def missing_epochs(parameters: Mapping[str, Any], data_sha256: str, store: Store | None) -> Epochs:
    """The epochs of one run that come after the newest state in the store; all without one."""
    return _untrained(_keys(parameters, data_sha256), parameters[PATIENCE], store)


def may_end_early(jobs: Iterable[Job]) -> bool:
    """Whether a job may train fewer epochs than are `untrained`, for its patience may come to an end."""
    return any(job.ends[0] < job.ends[1] for job in jobs)


def own_epochs(needed: Mapping[int, Epochs]) -> dict[int, int]:
    """How many of the epochs that each job needs, by its number, it trains if those that need the most come first."""
    trained, own = Epochs(), {}
    for number in sorted(needed, key=lambda number: (-len(needed[number]), number)):
        own[number] = len(needed[number] - trained)
        trained |= needed[number]
    return own


class Queue:
    """The jobs that wait and those that run, and which one is next.

    Only runs of one trajectory can share epochs, so a trajectory is looked at again only when one of its jobs has begun
    or ended, and while one of them runs. So the cost of all steps together grows with the jobs, not with their square.
    """

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._groups: dict[str, _Group] = {}
        self._heaps: dict[int, list[tuple[Rank, str]]] = {}  # by threads: trajectories of which no job runs
        self._active: set[str] = set()  # trajectories of which a job runs
        self._waiting, self._running = dict[int, Job](), dict[int, Job]()
        self._untrained = 0  # epochs of all trajectories of which no job runs
        for job in jobs:
            self._groups.setdefault(_group(job), _Group()).waiting[job.number] = job
            self._waiting[job.number] = job
        kept = _Kept(whole=True)
        for name in self._groups:
            self._settle(name, kept)

    @property
    def waiting(self) -> Collection[Job]:
        return self._waiting.values()

    @property
    def running(self) -> Collection[Job]:
        return self._running.values()

    def next(self, threads: Collection[int] | None = None) -> Job | None:
        """The waiting job to run next; None if each of them would wait for epochs that a running job trains.

        With `threads`, only jobs that compute with one of these numbers of threads. The job with the most epochs to
        train comes first: it leaves the states that shorter runs of its trajectory only read. A run that only reads
        comes before all others, because the store may remove old states to make room.
        """
        ranked = [best for name in self._active if (best := self._groups[name].best(threads))]
        for number, heap in self._heaps.items():
            while heap and self._groups[heap[0][1]].top != heap[0][0]:
                heapq.heappop(heap)  # of a trajectory that was looked at again since
            if heap and (threads is None or number in threads):
                ranked.append(heap[0][0])
        return self._waiting[min(ranked)[-1]] if ranked else None

    def start(self, job: Job) -> None:
        """A waiting job begins to run."""
        name = _group(job)
        group = self._groups[name]
        del self._waiting[job.number], group.waiting[job.number]
        self._running[job.number] = group.running[job.number] = job
        if name not in self._active:
            self._untrained -= group.untrained
            group.top = None
            self._active.add(name)
        group.ready.pop(job.number, None)

    def end(self, job: Job, again: bool = False) -> None:
        """A running job is over, or waits `again` because the host that ran it is gone."""
        name = _group(job)
        group = self._groups[name]
        del self._running[job.number], group.running[job.number]
        if again:
            self._waiting[job.number] = group.waiting[job.number] = job
        if not group.running:
            self._active.discard(name)
            self._settle(name)

    def trajectories(self) -> dict[int, int]:
        """How many trajectories have jobs, by threads: so many slots can be at work at once, each training another."""
        found: dict[int, int] = {}
        for group in self._groups.values():
            job = next(group.jobs(), None)
            if job:
                found[job.threads] = found.get(job.threads, 0) + 1
        return found

    def count_untrained(self) -> int:
        """How many epochs are to be trained for all jobs that wait or run. An epoch that several need counts once."""
        active = (job for name in self._active for job in self._groups[name].jobs())
        return self._untrained + count_untrained(active)

    def _settle(self, name: str, kept: "_Kept | None" = None) -> None:
        """Rank the jobs of a trajectory of which none runs."""
        group = self._groups[name]
        group.ready.clear()
        kept = kept or _Kept()
        best = group.best(None, kept)
        group.top, group.untrained = best, count_untrained(group.jobs(), kept)
        self._untrained += group.untrained
        if best:
            heapq.heappush(self._heaps.setdefault(group.waiting[best[-1]].threads, []), (best, name))


class _Group:
    """The jobs of one trajectory."""

    def __init__(self) -> None:
        self.waiting, self.running = dict[int, Job](), dict[int, Job]()
        self.ready: dict[int, Job] = {}  # of those that wait, some that only read states
        self.top: Rank | None = None  # the rank of the next job while none runs
        self.untrained = 0  # epochs, while no job runs

    def jobs(self) -> Iterator[Job]:
        yield from self.waiting.values()
        yield from self.running.values()

    def best(self, threads: Collection[int] | None, kept: "_Kept | None" = None) -> Rank | None:
        """The rank of the waiting job that comes next; None if each would wait for a running one."""
        if not self.waiting:
            return None
        if self.ready:
            number = min(self.ready)
            return (False, 0, number) if threads is None or self.ready[number].threads in threads else None
        kept = kept or _Kept()
        in_training: Epochs = set()
        for job in self.running.values():
            in_training |= _untrained(job.segments, job.patience, job.store, kept)
        ranks = []
        for job in self.waiting.values():
            if threads is not None and job.threads not in threads:
                continue
            needed = _untrained(job.segments, job.patience, job.store, kept)
            if not needed:
                self.ready[job.number] = job
            if not needed & in_training:
                ranks.append((bool(needed), -len(needed), job.number))
        return min(ranks, default=None)


def _group(job: Job) -> str:
    """What jobs have in common that can share epochs: where their trajectory begins."""
    return job.segments[0][0]


def _keys(parameters: Mapping[str, Any], data_sha256: str) -> list[tuple[str, int]]:
    return [(trajectory_key(segment.identity), segment.last) for segment in segments(parameters, data_sha256)]


def _ends(key: str, last: int, patience: int | None, store: Store | None) -> tuple[int, int]:
    """The first and the last epoch with which a run on a trajectory may end. States with an URL are not read for it."""
    return ends_in_store(store, key, last, patience) if isinstance(store, Path) else possible_ends([], last, patience)


class _Kept:
    """The epochs that a store has, read once for each trajectory, or at once for all of a store with an URL."""

    def __init__(self, whole: bool = False) -> None:
        self._epochs: dict[str, list[int]] = {}
        self._all: dict[str, list[int]] | None = None  # of a store with an URL, if all of it was read
        self._whole = whole

    def newest(self, store: Store, key: str, last: int) -> int:
        """The newest epoch up to `last` of which the trajectory `key` has a state; 0 if none."""
        if self._whole and self._all is None and isinstance(store, str):
            self._all = all_kept_epochs(store)
        if self._all is not None:
            epochs = self._all.get(key, [])
        elif key in self._epochs:
            epochs = self._epochs[key]
        else:
            epochs = self._epochs[key] = kept_epochs(store, key)
        position = bisect.bisect_right(epochs, last)
        return epochs[position - 1] if position else 0


def _untrained(
    parts: list[tuple[str, int]], patience: int | None, store: Store | None, kept: _Kept | None = None
) -> Epochs:
    """The epochs of segments, each given by its key and last epoch, that come after the newest state in the store.

    A state of a later segment replaces all segments before it. A run with a patience has one segment only. Of several
    calls with the same `kept`, each trajectory is looked up once.
    """
    kept = kept or _Kept()
    needed: Epochs = set()
    first = 1
    for key, latest in parts:
        _, last = _ends(key, latest, patience, store)
        newest = kept.newest(store, key, last) if store else 0
        if newest >= first:
            needed.clear()
        needed |= {(key, epoch) for epoch in range(max(first, newest + 1), last + 1)}
        first = last + 1
    return needed
