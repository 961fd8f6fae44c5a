"""Which job of a sweep is run next, so that each epoch is trained once and workers wait as little as possible."""

import heapq
import math
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from epochwise.config.schema import PATIENCE
from epochwise.runs.directory import RunDirectory
from epochwise.sweeps.record import Point
from epochwise.trajectory.ending import possible_ends
from epochwise.trajectory.identity import segments, trajectory_key
from epochwise.trajectory.remote_states import Store, all_kept_epochs, kept_epochs, kept_history
from epochwise.trajectory.states import newest_of

LOOK_INTERVAL = 5.0  # seconds between two looks at a store with a URL, each of which lists it
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


def distinct(points: Sequence[Point]) -> list[Point]:
    """The points whose data is prepared; of several that are the same run, only the first."""
    first = {point.fingerprint: point for point in reversed(points)}
    return [point for point in points if point.fingerprint and first[point.fingerprint] is point]


def untrained(job: Job, view: "StoreView | None" = None) -> Epochs:
    """The epochs that are to be trained for `job`, because the store has no state that is as far.

    Of a run with a patience these are the most that there may be. With a `view`, the store is as that one has seen it.
    """
    return (view or StoreView()).untrained(job.store, job.segments, job.patience)


def surely_untrained(job: Job, view: "StoreView | None" = None) -> Epochs:
    """Those of the `untrained` epochs of a job that its patience cannot spare."""
    view = view or StoreView()
    first, _ = view.ends(job)
    return {(key, epoch) for key, epoch in untrained(job, view) if epoch <= first}


def count_untrained(jobs: Iterable[Job], view: "StoreView | None" = None) -> int:
    """How many epochs are to be trained for all of `jobs`, at most. An epoch that several jobs need counts once."""
    epochs, view = Epochs(), view or StoreView(whole=True)
    for job in jobs:
        epochs |= untrained(job, view)
    return len(epochs)


def epochs_to_train(parameters: Mapping[str, Any], data_sha256: str, store: Store | None) -> int:
    """How many epochs are to be trained for one run, at most."""
    return len(missing_epochs(parameters, data_sha256, store))


def missing_epochs(
    parameters: Mapping[str, Any], data_sha256: str, store: Store | None, view: "StoreView | None" = None
) -> Epochs:
    """The epochs of one run that come after the newest state in the store; all without one."""
    return (view or StoreView()).untrained(store, _keys(parameters, data_sha256), parameters[PATIENCE])


def may_end_early(jobs: Iterable[Job], view: "StoreView | None" = None) -> bool:
    """Whether a job may train fewer epochs than are `untrained`, for its patience may come to an end."""
    view = view or StoreView(whole=True)
    return any(first < last for first, last in map(view.ends, jobs))


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
        self._early: set[str] = set()  # those of them with a job that its patience may end early
        for job in jobs:
            self._groups.setdefault(_group(job), _Group()).waiting[job.number] = job
            self._waiting[job.number] = job
        self._seen, self._looked = StoreView(whole=True), -math.inf
        view = StoreView(whole=True)
        for name in self._groups:
            self._settle(name, view)

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
        view = self._view()
        ranked = [best for name in self._active if (best := self._groups[name].best(threads, view))]
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
            self._early.discard(name)
            group.top = None
            self._active.add(name)
        group.ready.pop(job.number, None)
        group.known = None

    def end(self, job: Job, again: bool = False) -> None:
        """A running job is over, or waits `again` because the host that ran it is gone."""
        name = _group(job)
        group = self._groups[name]
        del self._running[job.number], group.running[job.number]
        if again:
            self._waiting[job.number] = group.waiting[job.number] = job
        group.known = None
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
        return self._untrained + count_untrained(self._of_active(), self._view())

    def may_end_early(self) -> bool:
        """Whether a job that waits or runs may train fewer epochs than that, see `may_end_early`."""
        return bool(self._early) or may_end_early(self._of_active(), self._view())

    def _view(self) -> "StoreView":
        """What the store has: a folder as it is now, a store with a URL as it was at most LOOK_INTERVAL ago."""
        job = next(self._of_active(), None)
        if job is None or not isinstance(job.store, str):
            return StoreView()
        if time.monotonic() > self._looked + LOOK_INTERVAL:
            self._seen, self._looked = StoreView(whole=True), time.monotonic()
        return self._seen

    def _of_active(self) -> Iterator[Job]:
        """The jobs of all trajectories of which one runs."""
        return (job for name in self._active for job in self._groups[name].jobs())

    def _settle(self, name: str, view: "StoreView | None" = None) -> None:
        """Rank the jobs of a trajectory of which none runs."""
        group = self._groups[name]
        group.ready.clear()
        view = view or StoreView()
        best = group.best(None, view)
        group.top, group.untrained = best, count_untrained(group.jobs(), view)
        self._untrained += group.untrained
        if may_end_early(group.jobs(), view):
            self._early.add(name)
        if best:
            heapq.heappush(self._heaps.setdefault(group.waiting[best[-1]].threads, []), (best, name))


class _Group:
    """The jobs of one trajectory."""

    def __init__(self) -> None:
        self.waiting, self.running = dict[int, Job](), dict[int, Job]()
        self.ready: dict[int, Job] = {}  # of those that wait, some that only read states
        self.top: Rank | None = None  # the rank of the next job while none runs
        self.untrained = 0  # epochs, while no job runs
        # The latest answer of `best`, after the threads and the epochs in the store for which it holds.
        self.known: tuple[Collection[int] | None, list[list[int]], Rank | None] | None = None

    def jobs(self) -> Iterator[Job]:
        yield from self.waiting.values()
        yield from self.running.values()

    def best(self, threads: Collection[int] | None, view: "StoreView | None" = None) -> Rank | None:
        """The rank of the waiting job that comes next; None if each would wait for a running one."""
        if not self.waiting:
            return None
        if self.ready:
            number = min(self.ready)
            return (False, 0, number) if threads is None or self.ready[number].threads in threads else None
        view = view or StoreView()
        parts = dict.fromkeys((job.store, key) for job in self.jobs() for key, _ in job.segments)
        kept = [view.kept(store, key) for store, key in parts]
        if self.known and self.known[:2] == (threads, kept):
            return self.known[2]
        in_training = Epochs().union(*(untrained(job, view) for job in self.running.values()))
        ranks = []
        for job in self.waiting.values():
            if threads is not None and job.threads not in threads:
                continue
            needed = untrained(job, view)
            if not needed:
                self.ready[job.number] = job
            if not needed & in_training:
                ranks.append((bool(needed), -len(needed), job.number))
        best = min(ranks, default=None)
        self.known = threads, kept, best
        return best


def _group(job: Job) -> str:
    """What jobs have in common that can share epochs: where their trajectory begins."""
    return job.segments[0][0]


def _keys(parameters: Mapping[str, Any], data_sha256: str) -> list[tuple[str, int]]:
    return [(trajectory_key(segment.identity), segment.last) for segment in segments(parameters, data_sha256)]


class StoreView:
    """What a store has: each trajectory is looked up once, or at once all of a store with a URL."""

    def __init__(self, whole: bool = False) -> None:
        self._epochs: dict[str, list[int]] = {}
        self._all: dict[str, list[int]] | None = None  # of a store with a URL, if all of it was read
        self._whole = whole

    def ends(self, job: Job) -> tuple[int, int]:
        """The first and the last epoch with which a run may end, by the states in the store."""
        key, last = job.segments[-1]
        return self._ends(job.store, key, last, job.patience)

    def untrained(self, store: Store | None, parts: list[tuple[str, int]], patience: int | None) -> Epochs:
        """The epochs of segments, each given by its key and last epoch, that come after the newest state in the store.

        A state of a later segment replaces all segments before it. A run with a patience has one segment only.
        """
        needed: Epochs = set()
        first = 1
        for key, latest in parts:
            _, last = self._ends(store, key, latest, patience)
            newest = newest_of(self.kept(store, key), last)
            if newest >= first:
                needed.clear()
            needed |= {(key, epoch) for epoch in range(max(first, newest + 1), last + 1)}
            first = last + 1
        return needed

    def _ends(self, store: Store | None, key: str, last: int, patience: int | None) -> tuple[int, int]:
        """The first and the last epoch with which a run of at most `last` epochs may end, by the newest state."""
        newest = newest_of(self.kept(store, key), last) if store and patience is not None else 0
        return possible_ends(kept_history(store, key, newest) if store and newest else [], last, patience)

    def kept(self, store: Store | None, key: str) -> list[int]:
        """The epochs of which the trajectory `key` has a state."""
        if store is None:
            return []
        if self._whole and self._all is None and isinstance(store, str):
            self._all = all_kept_epochs(store)
        if self._all is not None:
            return self._all.get(key, [])
        if key not in self._epochs:
            self._epochs[key] = kept_epochs(store, key)
        return self._epochs[key]
