"""What a sweep would do: its jobs, what of them is there, and how many epochs it would train. Nothing is run."""

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from epochwise.config.schema import PATIENCE
from epochwise.runs.directory import RunDirectory
from epochwise.sweeps.directory import EndedRuns, ended_runs
from epochwise.sweeps.halving import RUNG_KEY, by_setting, distinct_settings, kept, on_rung, unfinished
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

COOLDOWN = "train.cooldown_epochs"
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
    later = _rungs_above(root, sweep, search, last, len(distinct_settings(first_rung)), store)
    seeds, lengths = len(first_rung) // len(by_setting(first_rung)), Lengths.of(sweep, points, search.rungs)
    for count in proposer.later():
        later += _unknown_bracket(search, count, seeds, store, lengths)
    return DryRun(now.jobs, now.at_least, later)


@dataclass(frozen=True)
class Lengths:
    """What decides, beside the rungs, how many epochs the settings train that a sampler has not drawn yet."""

    cooldown: Bounds  # epochs at the end of a run that no longer run shares
    patience: int | None  # the least one; None if a run may have none

    @staticmethod
    def of(sweep: SweepRecord, drawn: Sequence[Point], rungs: Sequence[int]) -> "Lengths":
        """As in the settings that are `drawn` already or, if the sampler draws these values, whatever is allowed."""
        cooldowns = [point.parameters[COOLDOWN] for point in drawn]
        cooldown = (0, rungs[-1]) if COOLDOWN in sweep.varied else (min(cooldowns), max(cooldowns))
        if PATIENCE in sweep.varied:
            return Lengths(cooldown, 1)
        patiences = [point.parameters[PATIENCE] for point in drawn]
        return Lengths(cooldown, None if None in patiences else min(patiences))

    def to_train(self, epochs: int, before: int, store: Store | None) -> Bounds:
        """How many epochs a new run of so many trains, if that of the same setting `before` it has trained its own."""
        surely = epochs if self.patience is None else min(epochs, 1 + self.patience)
        if store is None:
            return surely, epochs
        least, most = (epochs - max(0, before - cooldown) for cooldown in self.cooldown)
        return min(surely, least), most


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
    going = {
        key: points
        for key, points in distinct_settings(batch).items()
        if not any(point.job in ended.diverged for point in points)
    }
    view = StoreView(whole=True)
    done = dict.fromkeys(going, _epochs_needed(ended, batch, store, view))
    later = []
    for epochs, candidates in above.items():
        there = {key: points for key, points in distinct_settings(candidates).items() if key in going}
        needed = {key: _epochs_needed(ended, points, store, view) for key, points in there.items()}
        least, most = _reach(search, epochs, settings, len(there))
        runs = sorted(sum(point.job not in ended for point in points) for points in there.values())
        to_train = _union_of_some(needed, done, least, most)
        later.append(LaterRung(epochs, (least, most), (sum(runs[:least]), sum(runs[len(runs) - most :])), to_train))
        done = {key: done[key] | needed[key] for key in there}
    return later


def _union_of_some(needed: Mapping[str, Epochs], done: Mapping[str, Epochs], least: int, most: int) -> Bounds:
    """How many epochs are trained if `least` to `most` of the settings with these `needed` epochs go on.

    Settings may have epochs in common, such as those before different cooldowns. `done` are the epochs that are there
    once each of them gets to this rung.
    """
    before = Epochs().union(*done.values())
    new = [epochs - before for epochs in needed.values()]
    settings_with = Counter(itertools.chain(*new))
    # With an equal share of each epoch for all settings that need it, no choice of them trains less than its shares.
    shares = sorted(sum((Fraction(1, settings_with[epoch]) for epoch in epochs), Fraction()) for epochs in new)
    # A setting that was to train an epoch for others may have been dropped before; if all go on, none was.
    own = sorted(len(epochs - done[key]) for key, epochs in needed.items())
    at_most = len(settings_with) if most == len(own) else sum(own[len(own) - most :])
    return math.ceil(sum(shares[:least])), at_most


def _unknown_bracket(
    search: Search, settings: int, seeds: int, store: Store | None, lengths: Lengths
) -> list[LaterRung]:
    """The rungs of a bracket whose settings are not known yet."""
    later, before = [], 0
    for epochs in search.rungs:
        reach = _reach(search, epochs, settings, settings)
        least, most = (runs * seeds for runs in reach)
        to_train = lengths.to_train(epochs, before, store)
        later.append(LaterRung(epochs, reach, (least, most), (least * to_train[0], most * to_train[1])))
        before = epochs
    return later


def _reach(search: Search, epochs: int, settings: int, candidates: int) -> Bounds:
    """How many of the `candidates` reach a rung, of a bracket that has so many `settings` on its first rung."""
    least = min(kept(settings, search.eta, search.rungs.index(epochs)), candidates)
    return least, candidates if search.keep_ties else least


def _epochs_needed(ended: EndedRuns, points: Sequence[Point], store: Store | None, view: StoreView) -> Epochs:
    """The epochs of which there is no state, for those of the runs that have not ended."""
    needed: Epochs = set()
    for point in points:
        if point.job not in ended:
            missing = missing_epochs(point.parameters, str(point.data_sha256), store, view)
            # Without states each run trains all of its epochs.
            needed |= missing if store else {(f"job {point.job} {key}", epoch) for key, epoch in missing}
    return needed
