"""The learning curves of a sweep, one for each trajectory; over several seeds with their mean and deviation."""

from dataclasses import dataclass

from epochwise.config.schema import PATIENCE
from epochwise.report.charts import ends_of_runs, over_seeds
from epochwise.sweeps.halving import RUNG_KEY
from epochwise.sweeps.leaderboard import Leaderboard, Setting
from epochwise.sweeps.table import plain, short
from epochwise.training.history import History


@dataclass(frozen=True)
class Curve:
    """The longest runs that settings on one trajectory have, one for each seed, and where all their runs end."""

    label: str
    histories: dict[int, History]  # by seed
    settings: list[list[History]]  # of the runs of each setting

    def line(self, metric: str) -> tuple[dict[int, float], dict[int, float]]:
        """The mean over seeds by epoch, and of several seeds the sample standard deviation."""
        return over_seeds(list(self.histories.values()), metric)

    def dots(self, metric: str) -> list[tuple[int, float]]:
        """Epoch and value where runs end."""
        return sorted({dot for histories in self.settings for dot in ends_of_runs(histories, metric)})


def trajectory_curves(leaderboard: Leaderboard) -> list[Curve]:
    """A curve for each trajectory, best first: settings that differ in where their runs end lie on one."""
    groups: list[tuple[set[str], list[Setting]]] = []  # trajectories, one for each seed, and the settings on them
    for setting in leaderboard.settings:
        own = {result.record.trajectory for result in setting.results}
        group = next((known for known in groups if known[0] & own), None)
        if group is None:
            groups.append((own, [setting]))
        else:
            group[0].update(own)
            group[1].append(setting)
    return [_curve(leaderboard, settings) for _, settings in groups]


def _curve(leaderboard: Leaderboard, settings: list[Setting]) -> Curve:
    """The curve of settings that have all but the end of their runs in common."""
    results = sorted((result for setting in settings for result in setting.results), key=lambda one: one.record.epochs)
    histories = {result.run: result.run.read_history() for result in results}
    longest = {result.point.parameters["seed"]: histories[result.run] for result in results}
    keys = [key for key in leaderboard.keys if len(settings) == 1 or key not in (RUNG_KEY, PATIENCE)]
    label = " ".join(f"{short(key)}={plain(settings[0].parameters[key])}" for key in keys)
    own = [[histories[result.run] for result in setting.results] for setting in settings]
    return Curve(label or "all runs", longest, own)
