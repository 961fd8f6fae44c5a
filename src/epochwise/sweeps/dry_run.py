"""What a sweep would do: its jobs, what of them is there, and how many epochs it would train. Nothing is run."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from epochwise.runs.directory import RunDirectory
from epochwise.sweeps.directory import finished_runs
from epochwise.sweeps.halving import RUNG_KEY, by_setting, kept, unfinished
from epochwise.sweeps.record import Point, SweepRecord
from epochwise.sweeps.scheduler import Epochs, Job, distinct, missing_epochs, own_epochs, untrained
from epochwise.sweeps.search import Proposer, Search, batches
from epochwise.trajectory.remote_states import Store

Bounds = tuple[int, int]  # at least, at most


@dataclass(frozen=True)
class PlannedJob:
    """A point whose run is known to be needed. `job` is None if nothing is to be run for it."""

    point: Point
    finished: RunDirectory | None = None
    job: Job | None = None
    missing: int = 0  # epochs of which there is no state
    to_train: int = 0  # those of them that no other job of the sweep trains


@dataclass(frozen=True)
class LaterRung:
    """A rung of which it is not decided yet which settings reach it."""

    epochs: int
    settings: Bounds
    runs: Bounds
    to_train: Bounds  # epochs


@dataclass(frozen=True)
class DryRun:
    """The jobs that are known, and the rungs after them."""

    jobs: list[PlannedJob]
    later: list[LaterRung] = field(default_factory=list)

    @property
    def to_run(self) -> list[PlannedJob]:
        return [planned for planned in self.jobs if planned.job]

    @property
    def epochs(self) -> Bounds:
        """How many epochs would be trained, at least and at most."""
        known = sum(planned.to_train for planned in self.jobs)
        return tuple(known + sum(rung.to_train[end] for rung in self.later) for end in (0, 1))  # type: ignore[return-value]

    @property
    def runs(self) -> Bounds:
        """How many runs there would be, at least and at most."""
        known = len(self.to_run)
        return tuple(known + sum(rung.runs[end] for rung in self.later) for end in (0, 1))  # type: ignore[return-value]


def plan_grid(root: Path, sweep: SweepRecord, points: Sequence[Point], store: Store | None) -> DryRun:
    """What running these points of a sweep would do. `store` is None if runs reuse no states."""
    finished = finished_runs(root, sweep, points)
    needed = distinct([point for point in points if point.job not in finished])
    jobs = {point.job: Job.of(point, sweep.run_directory(point), store) for point in needed}
    own = own_epochs(jobs.values())
    return DryRun(
        [
            PlannedJob(
                point,
                finished.get(point.job),
                job := jobs.get(point.job),
                len(untrained(job)) if job else 0,
                own.get(point.job, 0),
            )
            for point in points
        ]
    )


def plan_search(root: Path, sweep: SweepRecord, search: Search, proposer: Proposer, store: Store | None) -> DryRun:
    """What going on with a search would do, as far as it is decided, and bounds for what is not."""
    known = list(batches(root, sweep, search, proposer))
    points = [point for batch in known for point in batch]
    now = plan_grid(root, sweep, points, store)
    last = known[-1]
    if not unfinished(root, sweep, last):
        return now
    first_rung = next(batch for batch in known if batch[0].bracket == last[0].bracket)
    settings = len(by_setting(first_rung))
    later = _rungs_above(search, last, settings, store)
    for count in proposer.later():
        later += _unknown_bracket(search, count, len(first_rung) // settings, store)
    return DryRun(now.jobs, later)


def _rungs_above(search: Search, batch: Sequence[Point], settings: int, store: Store | None) -> list[LaterRung]:
    """The rungs above a batch of a bracket that has as many `settings` on its first rung."""
    on_rung, current = by_setting(batch), batch[0].parameters[RUNG_KEY]
    # Without states each run trains all of its epochs.
    done = {key: _epochs_needed(points, current, store) if store else set() for key, points in on_rung.items()}
    later = []
    for number, epochs in enumerate(search.rungs):
        if epochs <= current:
            continue
        costs = []
        for key, points in on_rung.items():
            needed = _epochs_needed(points, epochs, store)
            costs.append(len(needed - done[key]))
            done[key] |= needed if store else set()
        later.append(_later(search, epochs, number, settings, sorted(costs), len(batch) // len(on_rung)))
    return later


def _unknown_bracket(search: Search, settings: int, seeds: int, store: Store | None) -> list[LaterRung]:
    """The rungs of a bracket whose settings are not known yet."""
    later, before = [], 0
    for number, epochs in enumerate(search.rungs):
        costs = [(epochs - before) * seeds] * settings
        before = epochs if store else 0
        if number:
            later.append(_later(search, epochs, number, settings, costs, seeds))
        else:
            later.append(LaterRung(epochs, (settings,) * 2, (settings * seeds,) * 2, (sum(costs),) * 2))
    return later


def _later(search: Search, epochs: int, rung: int, settings: int, costs: Sequence[int], seeds: int) -> LaterRung:
    """A rung that settings with these `costs` in epochs, the lowest first, may reach; `rung` counts from 0."""
    least = min(kept(settings, search.eta, rung), len(costs))
    most = len(costs) if search.keep_ties else least
    to_train = sum(costs[:least]), sum(costs[len(costs) - most :])
    return LaterRung(epochs, (least, most), (least * seeds, most * seeds), to_train)


def _epochs_needed(points: Sequence[Point], epochs: int, store: Store | None) -> Epochs:
    """The epochs of which there is no state, for runs with the parameters of `points` but so many epochs."""
    needed: Epochs = set()
    for point in points:
        needed |= missing_epochs(point.parameters | {RUNG_KEY: epochs}, str(point.data_sha256), store)
    return needed
