"""What a sweep would do: its jobs, what of them is there, and how many epochs it would train. Nothing is run."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from epochwise.runs.directory import RunDirectory
from epochwise.sweeps.directory import EndedRuns, ended_runs
from epochwise.sweeps.halving import RUNG_KEY, by_setting, kept, on_rung, unfinished
from epochwise.sweeps.record import Point, SweepRecord
from epochwise.sweeps.scheduler import (
    Epochs,
    Job,
    StoreView,
    distinct,
    may_end_early,
    missing_epochs,
    own_epochs,
    surely_untrained,
    untrained,
)
from epochwise.sweeps.search import Proposer, Search, batches
from epochwise.trajectory.remote_states import Store

Bounds = tuple[int, int]  # at least, at most


@dataclass(frozen=True)
class PlannedJob:
    """A point whose run is known to be needed. `job` is None if nothing is to be run for it."""

    point: Point
    finished: RunDirectory | None = None
    diverged: RunDirectory | None = None  # of a search: the run would end so again, so it is not run
    job: Job | None = None
    there: int = 0  # epochs of which there is a state
    missing: int = 0  # epochs of which there is none, at most
    to_train: int = 0  # those of them that no other job of the sweep trains
    may_end_early: bool = False  # whether its patience may spare it some of these


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
    at_least: int  # epochs that these jobs train together
    later: list[LaterRung] = field(default_factory=list)

    @property
    def to_run(self) -> list[PlannedJob]:
        return [planned for planned in self.jobs if planned.job]

    @property
    def epochs(self) -> Bounds:
        """How many epochs would be trained, at least and at most."""
        at_most, later = sum(planned.to_train for planned in self.jobs), [rung.to_train for rung in self.later]
        return self.at_least + sum(epochs[0] for epochs in later), at_most + sum(epochs[1] for epochs in later)

    @property
    def runs(self) -> Bounds:
        """How many runs there would be, at least and at most."""
        known, later = len(self.to_run), [rung.runs for rung in self.later]
        return known + sum(runs[0] for runs in later), known + sum(runs[1] for runs in later)


def plan_grid(root: Path, sweep: SweepRecord, points: Sequence[Point], store: Store | None) -> DryRun:
    """What running these points of a sweep would do. `store` is None if runs reuse no states."""
    ended = ended_runs(root, sweep, points)
    needed = distinct([point for point in points if point.job not in ended])
    jobs = {point.job: Job.of(point, sweep.run_directory(point), store) for point in needed}
    view = StoreView(whole=True)
    needed_by = {number: untrained(job, view) for number, job in jobs.items()}
    own, sure = own_epochs(needed_by), Epochs().union(*(surely_untrained(job, view) for job in jobs.values()))
    planned = []
    for point in points:
        job = jobs.get(point.job)
        if job is None:
            planned.append(PlannedJob(point, ended.finished.get(point.job), ended.diverged.get(point.job)))
            continue
        missing, (_, end) = len(needed_by[point.job]), view.ends(job)
        early = may_end_early([job], view)
        planned.append(PlannedJob(point, None, None, job, end - missing, missing, own[point.job], early))
    return DryRun(planned, len(sure))


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
    later = _rungs_above(root, sweep, search, last, settings, store)
    for count in proposer.later():
        later += _unknown_bracket(search, count, len(first_rung) // settings, store)
    return DryRun(now.jobs, now.at_least, later)


@dataclass(frozen=True)
class Cost:
    """What it takes to run a setting on a rung, with all of its seeds."""

    runs: int
    epochs: int  # to train


def _rungs_above(
    root: Path, sweep: SweepRecord, search: Search, batch: Sequence[Point], settings: int, store: Store | None
) -> list[LaterRung]:
    """The rungs above a batch of a bracket that has as many `settings` on its first rung."""
    current = batch[0].parameters[RUNG_KEY]
    numbers = itertools.count(max(len(sweep.points), batch[-1].job + 1))  # that no job of the sweep has
    above = {
        epochs: [on_rung(sweep, point, epochs, next(numbers)) for point in batch if point.data_sha256]
        for epochs in search.rungs
        if epochs > current
    }
    ended = ended_runs(root, sweep, [*batch, *itertools.chain(*above.values())])
    dropped = {key for key, points in by_setting(batch).items() if any(point.job in ended.diverged for point in points)}
    going = {key: points for key, points in by_setting(batch).items() if key not in dropped}
    # Without states each run trains all of its epochs.
    view = StoreView(whole=True)
    done = {key: _epochs_needed(ended, points, store, view) if store else set() for key, points in going.items()}
    later = []
    for epochs, candidates in above.items():
        costs = []
        for key, points in by_setting(candidates).items():
            if key in going:
                needed = _epochs_needed(ended, points, store, view)
                costs.append(Cost(sum(point.job not in ended for point in points), len(needed - done[key])))
                done[key] |= needed if store else set()
        later.append(_later(search, epochs, settings, costs))
    return later


def _unknown_bracket(search: Search, settings: int, seeds: int, store: Store | None) -> list[LaterRung]:
    """The rungs of a bracket whose settings are not known yet."""
    later, before = [], 0
    for number, epochs in enumerate(search.rungs):
        costs = [Cost(seeds, (epochs - before) * seeds)] * settings
        before = epochs if store else 0
        all_run = LaterRung(epochs, (settings,) * 2, (settings * seeds,) * 2, (sum(cost.epochs for cost in costs),) * 2)
        later.append(_later(search, epochs, settings, costs) if number else all_run)
    return later


def _later(search: Search, epochs: int, settings: int, costs: Sequence[Cost]) -> LaterRung:
    """A rung that the settings with these `costs` may reach, of a bracket with so many `settings`."""
    least = min(kept(settings, search.eta, search.rungs.index(epochs)), len(costs))
    most = len(costs) if search.keep_ties else least
    runs, to_train = (
        (sum(values[:least]), sum(values[len(values) - most :]))
        for values in (sorted(cost.runs for cost in costs), sorted(cost.epochs for cost in costs))
    )
    return LaterRung(epochs, (least, most), runs, to_train)


def _epochs_needed(ended: EndedRuns, points: Sequence[Point], store: Store | None, view: StoreView) -> Epochs:
    """The epochs of which there is no state, for those of the runs that have not ended."""
    needed: Epochs = set()
    for point in points:
        if point.job not in ended:
            needed |= missing_epochs(point.parameters, str(point.data_sha256), store, view)
    return needed
