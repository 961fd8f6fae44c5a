"""What successive halving missed and what it saved, once the grid that it searched is finished on the last rung."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from epochwise.common.errors import InputError
from epochwise.config.schema import OWN_PARAMETERS, parameter_keys
from epochwise.report.shared_epochs import distinct_epochs, shared_epochs
from epochwise.runs.directory import RunDirectory
from epochwise.sweeps.directory import ended_runs, finished_runs, known_sweeps
from epochwise.sweeps.halving import (
    RUNG_KEY,
    Entry,
    by_setting,
    dropped_settings,
    on_rung,
    probability_of_chance,
    rank,
    read_rung,
)
from epochwise.sweeps.record import Point, SweepRecord
from epochwise.sweeps.search import GRID, Search, decisions


@dataclass(frozen=True)
class Regret:
    """The winner of a search beside the best of all its settings, both after the epochs of the last rung."""

    sweep: SweepRecord  # the search
    winner: Entry
    best: Entry
    chance: float | None  # the p-value of their difference, see `regret`; None if they cannot be compared by images
    others: int  # settings beside the winner
    dropped_at: int  # the epochs after which the search dropped the best; 0 if it did not
    epochs_searched: int  # that the runs of the search consist of
    epochs_of_grid: int  # that all settings consist of


def regrets(root: Path, sweep: SweepRecord) -> list[Regret]:
    """The regret of a search whose settings are all finished or, for a grid, of each search that it finishes."""
    if sweep.search:
        own = regret(root, sweep)
        return [own] if own else []
    fingerprints, found = {point.fingerprint for point in sweep.points}, []
    for other in known_sweeps(root):
        with suppress(InputError):  # a search whose files are damaged, or whose network has gone, has no regret
            wanted = {point.fingerprint for point in _last_rung(other)} if other.search else set()
            if wanted and wanted <= fingerprints:
                found.append(regret(root, other))
    return [one for one in found if one]


def regret(root: Path, sweep: SweepRecord) -> Regret | None:
    """The regret of a search; None while a setting that did not diverge is not finished on the last rung.

    The best of all was chosen for being ahead, so its p-value counts as often as there are others (Bonferroni).
    """
    search, points = Search.read(sweep), _last_rung(sweep)
    decided = decisions(root, sweep) if points else []
    reached = [decision for decision in decided if search and decision.epochs == search.rungs[-1] and decision.ranked]
    if search is None or not reached:
        return None
    ended, diverged = ended_runs(root, sweep, points), {key for decision in decided for key in decision.diverged}
    alive = [
        point
        for key, own in by_setting(points).items()
        if key not in diverged and not any(point.job in ended.diverged for point in own)
        for point in own
    ]
    finished = [ended.finished[point.job] for point in alive if point.job in ended.finished]
    if len(finished) < len(alive):
        return None
    entries, _ = read_rung(root, sweep, alive)
    winner = next(entry for entry in entries if entry.key == reached[0].ranked[0].key)
    best = min(entries, key=lambda entry: (rank(entry.val_accuracy, entry.val_loss), entry is not winner))
    chance, others = probability_of_chance(winner, best), len(entries) - 1
    return Regret(
        sweep,
        winner,
        best,
        None if chance is None else min(1.0, others * chance),
        others,
        dropped_settings(decided, search.rungs[-1]).get(best.key, 0),
        _epochs(finished_runs(root, sweep).values(), sweep.reuse),
        _epochs(finished, sweep.reuse),
    )


def _last_rung(sweep: SweepRecord) -> list[Point]:
    """All settings of a search through a grid on the last rung; none if this code does not know which runs they are."""
    search = Search.read(sweep)
    if search is None or search.proposals != GRID:
        return []
    points = []
    for number, point in enumerate(point for point in sweep.points if point.parameters[RUNG_KEY] == search.rungs[0]):
        lacking = set(parameter_keys()) - {OWN_PARAMETERS} - point.parameters.keys()
        if point.data_sha256 is None or lacking:  # of an earlier version
            return []
        # A number that no job of the sweep has: these runs lie wherever the grid was run.
        points.append(on_rung(sweep, point, search.rungs[-1], len(sweep.points) + number))
    return points


def _epochs(runs: Iterable[RunDirectory], reuse: bool) -> int:
    """How many epochs runs consist of; if they `reuse` each other's, those that they share count once."""
    records = [run.read_record() for run in set(runs)]
    if not reuse:
        return sum(record.epochs for record in records)
    names = [record.run_id for record in records]
    return distinct_epochs(shared_epochs(records, names, names))
