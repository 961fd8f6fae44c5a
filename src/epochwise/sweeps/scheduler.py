"""Which job of a sweep is run next, so that each epoch is trained once and the least is waited for."""

from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from epochwise.trajectory.identity import Leg, trajectory_key
from epochwise.trajectory.states import kept_epoch


@dataclass(frozen=True)
class Job:
    """A point that is to be run: where, as what, and by what way of trajectories. `store` is None if it shares none."""

    number: int
    name: str
    folder: Path
    config: DictConfig
    legs: list[Leg]
    store: Path | None


def untrained(job: Job) -> set[tuple[str, int]]:
    """Trajectory and epoch of all that is to be trained for `job`, because no kept state lies as far on its way."""
    needed: set[tuple[str, int]] = set()
    first = 1
    for leg in job.legs:
        key = trajectory_key(leg.identity) if job.store else str(job.number)
        newest = kept_epoch(job.store, key, leg.last) if job.store else 0
        if newest >= first:
            needed.clear()
        needed |= {(key, epoch) for epoch in range(max(first, newest + 1), leg.last + 1)}
        first = leg.last + 1
    return needed


def to_train(jobs: list[Job]) -> int:
    """How many epochs are to be trained for all of `jobs`: those that they share count once."""
    return len(set().union(*map(untrained, jobs)))


def choose(waiting: list[Job], running: list[Job]) -> Job | None:
    """Of the waiting jobs for which no running one is training, the next; None if all would wait.

    The longest of a trajectory comes first and leaves the states that the shorter ones only read; these come as soon
    as they can, before there is no more room for what they read.
    """
    at_work = set().union(*map(untrained, running))
    ready = [(len(needed), job) for job in waiting if not (needed := untrained(job)) & at_work]
    return max(ready, key=lambda pair: (not pair[0], pair[0], -pair[1].number))[1] if ready else None
