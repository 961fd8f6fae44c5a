"""The learning curves of a sweep, one for each trajectory."""

from dataclasses import dataclass

from epochwise.sweeps.leaderboard import Leaderboard, Result
from epochwise.sweeps.table import plain, short
from epochwise.training.history import History


@dataclass(frozen=True)
class Curve:
    """The history of a trajectory's longest run, and the last epochs of all its runs."""

    label: str
    history: History
    last_epochs: list[int]


def trajectory_curves(leaderboard: Leaderboard) -> list[Curve]:
    """A curve for each trajectory, best first. Of a setting with several seeds it is the best run's.

    If only the seed was varied, each seed has its curve.
    """
    settings = leaderboard.settings
    shown = [setting.results[0] for setting in settings] if leaderboard.keys else settings[0].results
    trajectories: dict[str, list[Result]] = {}
    for result in shown:
        trajectories.setdefault(result.record.trajectory, []).append(result)
    return [_curve(leaderboard, results) for results in trajectories.values()]


def _curve(leaderboard: Leaderboard, results: list[Result]) -> Curve:
    """The curve of runs that have all but their length in common."""
    longest = max(results, key=lambda result: result.record.epochs)
    keys = [key for key in leaderboard.keys if len(results) == 1 or key != "train.epochs"]
    keys = keys or [key for key in leaderboard.sweep.varied if key == "seed"]
    label = " ".join(f"{short(key)}={plain(longest.point.parameters[key])}" for key in keys) or "all runs"
    return Curve(label, longest.run.read_history(), sorted(result.record.epochs for result in results))
