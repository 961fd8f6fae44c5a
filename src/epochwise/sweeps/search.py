"""A search: a sweep whose points are chosen while it runs. What is launched next follows from the runs that are there.

A search has brackets, and each bracket has rungs. A bracket is a number of settings that a proposer names: all of a
grid, or some that a sampler draws. All of them are run to the first rung, some go on to the next (`halving`), and when
the last rung is done the proposer gets the results and may name another bracket. Nothing is stored of these decisions:
the same command finds the same ones again in the run directories, and goes on.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from omegaconf import DictConfig

from epochwise.common.errors import InputError
from epochwise.config.schema import PATIENCE
from epochwise.sweeps.grid import grid_jobs, make_points
from epochwise.sweeps.halving import (
    RUNG_KEY,
    Decision,
    by_setting,
    decide,
    distinct_settings,
    kept,
    read_rung,
    unfinished,
)
from epochwise.sweeps.record import Point, SweepRecord
from epochwise.sweeps.samplers import RANDOM, TPE, Draws, SampledProposer, import_optuna
from epochwise.sweeps.space import Space, parameters_of, read_space

SWEEPER = "hydra_plugins.epochwise_sweeper.SearchSweeper"
GRID = "grid"


@dataclass(frozen=True)
class Search:
    """How a search chooses its points: what sweep.json holds under `search`."""

    proposals: str  # where settings come from
    rungs: list[int]  # epochs, ascending
    eta: int  # of so many settings on a rung one goes on
    keep_ties: bool  # whether those within chance of the last one that goes on do, too
    candidates: str  # sha256 of what is searched: the same search continues, another one is a new sweep

    @staticmethod
    def read(sweep: SweepRecord) -> "Search | None":
        """The search of a sweep; None if the sweep is a grid. Raises InputError if sweep.json does not hold one."""
        if not sweep.search:
            return None
        types = {"proposals": str, "rungs": list, "eta": int, "keep_ties": bool, "candidates": str}
        for key, expected in types.items():
            if not isinstance(sweep.search.get(key), expected):
                raise InputError(f"{sweep.folder}: not a search's record: search.{key} is {sweep.search.get(key)!r}")
        rungs = sweep.search["rungs"]
        counts = all(isinstance(rung, int) and rung >= 1 for rung in rungs)
        if not rungs or not counts or rungs != sorted(set(rungs)):
            raise InputError(f"{sweep.folder}: not a search's record: search.rungs is {rungs!r}")
        if sweep.search["eta"] < 2:
            raise InputError(f"{sweep.folder}: not a search's record: search.eta is {sweep.search['eta']!r}")
        return Search(**{key: sweep.search[key] for key in types})

    def as_record(self) -> dict[str, Any]:
        return asdict(self)


class Proposer(Protocol):
    """Names the settings of one bracket after the other, the same ones each time."""

    def ask(self) -> list[Point]:
        """The points of the next bracket on all rungs; none if there is no other bracket."""

    def tell(self, decisions: Sequence[Decision]) -> None:
        """What was reached on each rung of the bracket that was asked for last."""

    def later(self) -> list[int]:
        """How many settings each bracket has that was not asked for yet."""


class GridProposer:
    """All settings of a grid, as one bracket."""

    def __init__(self, points: Sequence[Point]) -> None:
        self.brackets = [list(points)]

    def ask(self) -> list[Point]:
        return self.brackets.pop() if self.brackets else []

    def tell(self, decisions: Sequence[Decision]) -> None:
        """A grid takes no notice."""

    def later(self) -> list[int]:
        return [len(by_setting(points)) for points in self.brackets]


def is_search(settings: DictConfig) -> bool:
    """Whether Hydra's `settings` choose a sweeper that searches, such as `hydra/sweeper=halving`."""
    return bool(settings.sweeper.get("_target_") == SWEEPER)


def is_sampled(settings: DictConfig) -> bool:
    """Whether Hydra's `settings` choose a sampler: `hydra/sweeper=random` or `tpe`."""
    return is_search(settings) and settings.sweeper.get("proposals") in (RANDOM, TPE)


def search_of_grid(settings: DictConfig, points: Sequence[Point]) -> Search:
    """The search through the points of a grid by successive halving. Raises InputError if it cannot be one."""
    eta, keep_ties = _halving_settings(settings)
    rungs = sorted({point.parameters[RUNG_KEY] for point in points})
    if len(rungs) == 1:
        raise InputError(
            f"hydra/sweeper=halving needs rungs: several values of {RUNG_KEY}, such as {RUNG_KEY}=1,3,9; "
            f"got {RUNG_KEY}={rungs[0]}"
        )
    _refuse_missing_rungs(points)
    _refuse_patience(rungs, points)
    return Search(GRID, rungs, eta, keep_ties, _digest([point.fingerprint or point.overrides for point in points]))


def search_of_samples(settings: DictConfig, space: Space, draws: Draws, first: Sequence[Point]) -> Search:
    """The search through settings that a sampler draws; `first` are the points of its first bracket.

    Another version of Optuna may draw other settings, so that is another search. Raises InputError if a setting of
    the halving is wrong.
    """
    eta, keep_ties = _halving_settings(settings)
    _refuse_patience(space.rungs, first, parameters_of(space))
    known = [point.fingerprint or point.overrides for point in first]
    searched = _digest([asdict(space), asdict(draws), import_optuna().__version__, known])
    return Search(draws.sampler, space.rungs, eta, keep_ties, searched)


def _refuse_missing_rungs(points: Sequence[Point]) -> None:
    """Raise InputError if settings are not all on the same rungs, as presets are that have epochs of their own."""
    found: dict[tuple[str, int], set[int]] = {}
    for key, own in by_setting(points).items():
        for point in own:
            found.setdefault((key, point.parameters["seed"]), set()).add(point.parameters[RUNG_KEY])
    several = sorted({tuple(sorted(rungs)) for rungs in found.values()})
    if len(several) > 1:
        rungs = " and ".join(",".join(map(str, one)) for one in several[:2])
        raise InputError(
            f"hydra/sweeper=halving needs the same rungs for all settings, but some have {RUNG_KEY}={rungs}; give "
            f"{RUNG_KEY}, such as {RUNG_KEY}=1,3,9, which then holds for presets, too"
        )


def _refuse_patience(rungs: Sequence[int], points: Sequence[Point], drawn: Sequence[str] = ()) -> None:
    """Raise InputError if runs may end before their rung: then those on one rung would not be equally long."""
    given = {point.parameters[PATIENCE] for point in points} - {None}
    if len(rungs) > 1 and (given or PATIENCE in drawn):
        subject = f"{PATIENCE}={','.join(map(str, sorted(given)))}"
        subject = f"{PATIENCE} in a range or in one of several presets" if PATIENCE in drawn else subject
        raise InputError(
            f"{subject}: must be null where {RUNG_KEY}={','.join(map(str, rungs))} are rungs, at which bad "
            "settings are dropped; a plain grid, or a search with one number of epochs, can have a patience"
        )


def _halving_settings(settings: DictConfig) -> tuple[int, bool]:
    """`hydra.sweeper.eta` and `hydra.sweeper.keep_ties`. Raises InputError if one of them is wrong."""
    eta, keep_ties = settings.sweeper.get("eta"), settings.sweeper.get("keep_ties")
    if isinstance(eta, bool) or not isinstance(eta, int) or eta < 2:
        raise InputError(f"hydra.sweeper.eta must be a whole number of 2 or more, got {eta!r}")
    if not isinstance(keep_ties, bool):
        raise InputError(f"hydra.sweeper.keep_ties must be true or false, got {keep_ties!r}")
    return eta, keep_ties


def _digest(searched: object) -> str:
    """SHA-256 over what is searched, as JSON."""
    return hashlib.sha256(json.dumps(searched, sort_keys=True).encode()).hexdigest()


def proposer_of(typed: Sequence[str], settings: DictConfig) -> Proposer:
    """The proposer for a search's command line. Raises InputError as `opening.open_command` does."""
    if is_sampled(settings):
        return SampledProposer(read_space(typed, settings), Draws.read(settings))
    return GridProposer(make_points(grid_jobs(typed, settings))[1])


def batches(root: Path, sweep: SweepRecord, search: Search, proposer: Proposer) -> Iterator[list[Point]]:
    """The batches of a search in order, each a rung of a bracket, numbered as they are launched.

    After a batch was yielded its runs are read, so they must have been launched when the next one is asked for. If a
    run is missing then, nothing can be decided and there is no next batch.
    """
    first = bracket = 0
    while candidates := proposer.ask():
        settings, decisions = by_setting(candidates), list[Decision]()
        going, count = list(settings), len(distinct_settings(candidates))
        for number, epochs in enumerate(search.rungs, 1):
            chosen = [
                point
                for key, points in settings.items()
                if key in going
                for point in points
                if point.parameters[RUNG_KEY] == epochs
            ]
            batch = [replace(point, job=first + index, bracket=bracket) for index, point in enumerate(chosen)]
            yield batch
            if unfinished(root, sweep, batch):
                return
            first += len(batch)
            decisions.append(_decide(root, sweep, search, batch, kept(count, search.eta, number)))
            going = decisions[-1].promoted
            if not going:
                break
        proposer.tell(decisions)
        bracket += 1


def decisions(root: Path, sweep: SweepRecord) -> list[Decision]:
    """What was decided on each rung that is finished; empty for a grid. Raises InputError if a file is damaged."""
    search, found = Search.read(sweep), []
    groups: dict[tuple[int, int], list[Point]] = {}
    for point in sweep.points if search else ():
        groups.setdefault((point.bracket, point.parameters[RUNG_KEY]), []).append(point)
    for (bracket, epochs), points in groups.items():
        if search and epochs in search.rungs and not unfinished(root, sweep, points):
            settings = len(distinct_settings(groups.get((bracket, search.rungs[0]), points)))
            number = 1 + search.rungs.index(epochs)
            found.append(_decide(root, sweep, search, points, kept(settings, search.eta, number)))
    return found


def with_batch(sweep: SweepRecord, batch: Sequence[Point]) -> SweepRecord:
    """The sweep's record with the points of a batch in their places.

    Points after them stay if these are the same as before: then an earlier command has come further. If not, others
    are chosen from here on, so the search has not ended.
    """
    first, end = batch[0].job, batch[0].job + len(batch)
    if sweep.points[first:end] == list(batch):
        return sweep
    return replace(sweep, points=[*sweep.points[:first], *batch], search_ended=False)


def _decide(root: Path, sweep: SweepRecord, search: Search, batch: Sequence[Point], keep: int) -> Decision:
    entries, diverged = read_rung(root, sweep, batch)
    bracket, epochs = batch[0].bracket, batch[0].parameters[RUNG_KEY]
    last = epochs == search.rungs[-1]  # nothing is chosen there
    return decide(entries, diverged, 0 if last else keep, search.keep_ties and not last, bracket, epochs)


def run_search(root: Path, folder: Path, proposer: Proposer, launch: Callable[[list[Point]], None]) -> None:
    """Launch one batch after the other until the search is done or a run is missing that is needed to go on.

    `folder` holds sweep.json, which has the points of a batch before it is launched. A batch that is finished already
    is not launched, but for the last one, so that the launcher can publish the sweep.
    """
    sweep = SweepRecord.read(folder)
    search = Search.read(sweep)
    if search is None:
        raise InputError(f"{folder}: holds no search; start it again")
    skipped, batch = list[Point](), list[Point]()
    for batch in batches(root, sweep, search, proposer):
        before = SweepRecord.read(folder)
        changed = with_batch(before, batch)
        if changed is not before:
            changed.write()
        skipped = [] if unfinished(root, changed, batch) else batch
        if not skipped:
            launch(batch)
    if skipped:
        launch(skipped)
    if not unfinished(root, sweep, batch):
        replace(SweepRecord.read(folder), search_ended=True).write()
