"""What is written below the leaderboard of a search: what was decided on each rung, and what that missed and saved."""

from collections.abc import Sequence

from epochwise.common.wording import counted, listed
from epochwise.report.charts import shown
from epochwise.sweeps.halving import RUNG_KEY, Decision, Entry, rank
from epochwise.sweeps.paired_test import LEVEL, correction, name_of_test
from epochwise.sweeps.record import SweepRecord
from epochwise.sweeps.regret import Regret
from epochwise.sweeps.search import Search


def decision_notes(sweep: SweepRecord, decided: Sequence[Decision]) -> list[str]:
    """A line for each rung on which something was decided."""
    search, several = Search.read(sweep), len({decision.bracket for decision in decided}) > 1
    if search is None:
        return []
    chosen = [decision for decision in decided if decision.epochs != search.rungs[-1]]
    return [_decision(sweep, decision, several) for decision in chosen]


def regret_notes(found: Sequence[Regret]) -> list[str]:
    """A line for each search whose grid is finished."""
    return [_regret(one) for one in found]


def setting_name(sweep: SweepRecord, entry: Entry) -> str:
    """What sets a setting apart from the others: `dense_dropout=0.5 learning_rate=0.001`."""
    values = entry.points[0].parameters
    varied = [key for key in sweep.varied if key not in ("seed", RUNG_KEY)]
    return " ".join(f"{key.split('.')[-1]}={shown(values[key])}" for key in varied) or "the only setting"


def _decision(sweep: SweepRecord, decision: Decision, several_brackets: bool) -> str:
    bracket = f"bracket {decision.bracket + 1}, " if several_brackets else ""
    settings = len(decision.ranked) + len(decision.diverged)
    text = f"{bracket}after {counted(decision.epochs, 'epoch')}: {len(decision.best)} of {settings} settings went on"
    named = {entry.key: setting_name(sweep, entry) for entry in decision.ranked}
    if decision.ties:
        ties = [f"{named[key]} (p = {chance:.2f})" for key, chance in decision.ties.items()]
        rule = f"{name_of_test(len(decision.ranked[0].points))}, p of {LEVEL:g} or more"
        text += f", and {len(ties)} more within chance of the last of these ({rule}): {listed(ties, separator='; ')}"
    if decision.diverged:
        text += f"; {len(decision.diverged)} diverged"
    if decision.untested:
        untested = listed((named[key] for key in decision.untested), separator="; ")
        text += f"; dropped by rank alone, for their predictions or images cannot be compared: {untested}"
    return text


def _regret(regret: Regret) -> str:
    searched, grid = regret.epochs_searched, regret.epochs_of_grid
    last = counted(regret.winner.points[0].parameters[RUNG_KEY], "epoch")
    fewer = f"{searched} of the grid's {counted(grid, 'epoch')}, {grid / searched:.1f} times fewer"
    if searched >= grid:  # all were within chance, states were not reused, or what diverged is no part of the grid
        fewer = f"{counted(searched, 'epoch')}, no fewer than the grid's {grid}"
    cost = f"successive halving (sweep {regret.sweep.id}) took {fewer}"
    if regret.best is regret.winner:
        return f"{cost}, and missed nothing: its winner is the best of all settings after {last}"
    best, winner = (setting_name(regret.sweep, entry) for entry in (regret.best, regret.winner))
    dropped = f"dropped after {counted(regret.dropped_at, 'epoch')}" if regret.dropped_at else "not dropped"
    return (
        f"{cost}, and missed {best} ({dropped}): val_accuracy {regret.best.val_accuracy:.4f} after {last}, "
        f"its winner {winner} has {_behind(regret)}{_chance(regret)}"
    )


def _behind(regret: Regret) -> str:
    """By how much the winner is behind the best; of an equal val_accuracy, val_loss says which is better."""
    (best_rank, best_loss), (rank_of_winner, loss) = (
        rank(entry.val_accuracy, entry.val_loss) for entry in (regret.best, regret.winner)
    )
    if best_rank == rank_of_winner:
        return f"as much, with a val_loss that is {_difference(loss - best_loss)} higher"
    return f"{_difference(rank_of_winner - best_rank)} less"


def _difference(number: float) -> str:
    """A positive number with four decimals or, where these would show a zero, with its first digit."""
    return f"{number:.4f}" if number >= 0.0001 else f"{number:.1g}"


def _chance(regret: Regret) -> str:
    if regret.chance is None:
        return ""
    within, test = regret.chance >= LEVEL, name_of_test(len(regret.winner.points)) + correction(regret.others)
    return f", {'within' if within else 'more than'} chance (p = {regret.chance:.2g}, {test})"
