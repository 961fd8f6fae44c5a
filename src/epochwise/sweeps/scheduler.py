"""Which job of a sweep is run next, so that each epoch is trained once and workers wait as little as possible."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from epochwise.config.schema import PATIENCE
from epochwise.runs.directory import RunDirectory
from epochwise.sweeps.record import Point
from epochwise.trajectory.ending import possible_ends
from epochwise.trajectory.identity import segments, trajectory_key
from epochwise.trajectory.states import ends_in_store, newest_epoch

Epochs = set[tuple[str, int]]  # a trajectory's key, and an epoch


@dataclass(frozen=True)
class Job:
    """A point that is to be run, and where. `store` is None if the run reuses no states."""

    number: int
    name: str
    run: RunDirectory
    threads: int
    epochs: int  # at most, if it has a patience
    segments: list[tuple[str, int]]  # the key and the last epoch of each, see `trajectory.identity.segments`
    store: Path | None
    patience: int | None = None

    @staticmethod
    def of(point: Point, run: RunDirectory, store: Path | None) -> "Job":
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


def count_untrained(jobs: Iterable[Job]) -> int:
    """How many epochs are to be trained for all of `jobs`, at most. An epoch that several jobs need counts once."""
    epochs: Epochs = set()
    return len(epochs.union(*map(untrained, jobs)))


def epochs_to_train(parameters: Mapping[str, Any], data_sha256: str, store: Path | None) -> int:
    """How many epochs are to be trained for one run, at most."""
    return len(missing_epochs(parameters, data_sha256, store))


def missing_epochs(parameters: Mapping[str, Any], data_sha256: str, store: Path | None) -> Epochs:
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


def next_job(waiting: Collection[Job], running: Iterable[Job]) -> Job | None:
    """The waiting job to run next; None if each of them would wait for epochs that a running job trains.

    The job with the most epochs to train comes first: it leaves the states that shorter runs of its trajectory only
    read. A run that only reads comes before all others, because the store may remove old states to make room.
    """
    in_training: Epochs = set()
    in_training = in_training.union(*map(untrained, running))
    ready = [(len(needed), job) for job in waiting if not (needed := untrained(job)) & in_training]
    return max(ready, key=lambda pair: (not pair[0], pair[0], -pair[1].number))[1] if ready else None


def _keys(parameters: Mapping[str, Any], data_sha256: str) -> list[tuple[str, int]]:
    return [(trajectory_key(segment.identity), segment.last) for segment in segments(parameters, data_sha256)]


def _ends(key: str, last: int, patience: int | None, store: Path | None) -> tuple[int, int]:
    """The first and the last epoch with which a run on a trajectory may end."""
    return ends_in_store(store, key, last, patience) if store else possible_ends([], last, patience)


def _untrained(parts: list[tuple[str, int]], patience: int | None, store: Path | None) -> Epochs:
    """The epochs of segments, each given by its key and last epoch, that come after the newest state in the store.

    A state of a later segment replaces all segments before it. A run with a patience has one segment only.
    """
    needed: Epochs = set()
    first = 1
    for key, latest in parts:
        _, last = _ends(key, latest, patience, store)
        newest = newest_epoch(store, key, last) if store else 0
        if newest >= first:
            needed.clear()
        needed |= {(key, epoch) for epoch in range(max(first, newest + 1), last + 1)}
        first = last + 1
    return needed
