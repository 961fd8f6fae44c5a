"""Which settings cannot be told apart from the best one of a leaderboard: a paired test over images and seeds."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from epochwise.common.errors import InputError, one_line
from epochwise.runs.directory import RunDirectory
from epochwise.sweeps.halving import Entry, probability_of_chance, read_entry, setting_key
from epochwise.sweeps.paired_test import LEVEL, corrected
from epochwise.sweeps.record import Point

MAX_COMPARED = 100  # settings, those below the best one: the predictions of all their runs are read

Runs = Sequence[tuple[Point, RunDirectory]]  # the finished runs of a setting, one for each seed


@dataclass(frozen=True)
class BesideBest:
    """The settings below the best one, by their ranks in the leaderboard, which begin with 2."""

    p_values: dict[int, float] = field(default_factory=dict)  # of their differences from the best one, `corrected`
    not_compared: dict[int, str] = field(default_factory=dict)  # the reason
    left_out: int = 0  # settings further below, which were not looked at

    @property
    def within_chance(self) -> dict[int, float]:
        """The p-values of the settings that cannot be told apart from the best one."""
        return {rank: chance for rank, chance in self.p_values.items() if chance >= LEVEL}


def compare_with_best(settings: Sequence[Runs]) -> BesideBest:
    """Compare settings with the first of them, which is the best."""
    found = BesideBest(left_out=max(0, len(settings) - 1 - MAX_COMPARED))
    others = dict(enumerate(settings[1 : MAX_COMPARED + 1], 2))
    if not others:
        return found
    try:
        best = _read(settings[0])
    except InputError as error:
        found.not_compared.update(dict.fromkeys(others, f"for the best one: {error}"))
        return found
    p_values = dict[int, float]()
    for rank, runs in others.items():
        try:
            p_values[rank] = _p_value(best, _read(runs))
        except InputError as error:
            found.not_compared[rank] = str(error)
    found.p_values.update(corrected(p_values))
    return found


def _read(runs: Runs) -> Entry:
    """Raises InputError with the reason if a setting cannot be compared."""
    points = [point for point, _ in runs]
    try:
        entry = read_entry(setting_key(points[0].parameters), points, [run for _, run in runs])
    except InputError as error:
        raise InputError(f"a file is damaged: {one_line(error)}") from error
    if entry.correct is None:
        raise InputError("no predictions of validation images were kept")
    return entry


def _p_value(best: Entry, other: Entry) -> float:
    if len(best.points) != len(other.points):
        raise InputError(f"n is {len(other.points)} and not {len(best.points)}")
    chance = probability_of_chance(best, other)
    if chance is None:
        raise InputError("its data are others")
    return chance
