"""Settings that one of Optuna's samplers draws: at random, or by TPE from what earlier settings have reached.

Nothing is stored but the runs. A sampler with the same seed and the same results draws the same settings, so
the same command draws all of them again, finds their runs, and goes on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from omegaconf import DictConfig

from epochwise.common.errors import InputError, one_line
from epochwise.config.limits import INT32_MAX
from epochwise.sweeps.grid import make_points
from epochwise.sweeps.halving import Decision, setting_key
from epochwise.sweeps.record import Point
from epochwise.sweeps.space import Range, Space

RANDOM, TPE = "random", "tpe"


@dataclass(frozen=True)
class Draws:
    """How settings are drawn: `hydra.sweeper` of `hydra/sweeper=random|tpe`."""

    sampler: str
    n_trials: int
    batch_size: int  # settings that are drawn before the next results are known
    seed: int

    @staticmethod
    def read(settings: DictConfig) -> "Draws":
        """Raises InputError if one of Hydra's `settings` is wrong."""
        sweeper = settings.sweeper
        n_trials = _whole(sweeper, "n_trials", 1)
        # What a random sampler draws does not depend on results, so all of it is one bracket.
        batch_size = _whole(sweeper, "batch_size", 1) if sweeper.proposals == TPE else n_trials
        return Draws(sweeper.proposals, n_trials, batch_size, _whole(sweeper, "seed", 0))


class SampledProposer:
    """Settings from a sampler of Optuna's, in brackets of `batch_size`."""

    def __init__(self, space: Space, draws: Draws, quiet: bool = False) -> None:
        """A `quiet` one prints nothing of settings that cannot be run. Raises InputError if Optuna is not installed."""
        optuna = import_optuna()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        samplers: dict[str, Any] = {RANDOM: optuna.samplers.RandomSampler, TPE: optuna.samplers.TPESampler}
        # With constant_liar, settings that are drawn in one batch keep away from each other.
        more = {"constant_liar": True} if draws.sampler == TPE else {}
        self.study = optuna.create_study(direction="maximize", sampler=samplers[draws.sampler](seed=draws.seed, **more))
        self.states = optuna.trial.TrialState
        self.distributions = {one.key: _distribution(optuna, one) for one in space.ranges}
        self.space, self.draws, self.left = space, draws, draws.n_trials
        self.quiet, self.refused = quiet, list[str]()  # what is wrong with settings that cannot be run
        self.trials: dict[str, list[Any]] = {}  # of the bracket that was asked for last, by setting

    def ask(self) -> list[Point]:
        """Draw settings. Those that cannot be run are named and count as trials; if all are, draw further ones."""
        self.trials, points = {}, list[Point]()
        first: dict[tuple[str | None, ...], str] = {}  # the key of the first of settings that are the very same runs
        keys = set[str]()
        while self.left and not points:
            size = min(self.draws.batch_size, self.left)
            self.left -= size
            drawn = [self.study.ask(self.distributions) for _ in range(size)]
            for trial, made in zip(
                drawn, self._points([self.space.jobs(trial.params) for trial in drawn]), strict=True
            ):
                if not made:
                    self.study.tell(trial, state=self.states.FAIL)
                    continue
                key, runs = setting_key(made[0].parameters), tuple(point.fingerprint for point in made)
                points += [] if key in keys else made
                keys.add(key)
                self.trials.setdefault(key if None in runs else first.setdefault(runs, key), []).append(trial)
        return points

    def tell(self, decisions: Sequence[Decision]) -> None:
        """Tell the sampler val_accuracy on the last rung; of settings that were dropped, on the rungs they reached."""
        for key, trials in self.trials.items():
            entries = [(rung.epochs, entry) for rung in decisions for entry in rung.ranked if entry.key == key]
            diverged = any(key in rung.diverged for rung in decisions)
            for trial in trials:
                for epochs, entry in entries:
                    trial.report(entry.val_accuracy, step=epochs)
                if diverged or not entries:
                    self.study.tell(trial, state=self.states.FAIL)
                elif entries[-1][0] == self.space.rungs[-1]:
                    self.study.tell(trial, entries[-1][1].val_accuracy)
                else:
                    self.study.tell(trial, state=self.states.PRUNED)

    def later(self) -> list[int]:
        full, rest = divmod(self.left, self.draws.batch_size)
        return [self.draws.batch_size] * full + [rest] * bool(rest)

    def _points(self, settings: Sequence[list[list[str]]]) -> list[list[Point]]:
        """The points of each setting; none of one that cannot be run."""
        try:
            made = make_points([job for jobs in settings for job in jobs])[1]
            sizes = [len(jobs) for jobs in settings]
        except InputError as error:
            if len(settings) > 1:
                return [points for jobs in settings for points in self._points([jobs])]
            self.refused.append(f"{self.space.name(settings[0][0])}: {one_line(error)}")
            if not self.quiet:
                print(f"not run: {self.refused[-1]}", flush=True)
            return [[]]
        named = iter(replace(point, name=self.space.name(point.overrides)) for point in made)
        return [[next(named) for _ in range(size)] for size in sizes]


def import_optuna() -> Any:  # noqa: ANN401  # a module
    """Optuna. Raises InputError if it is not installed."""
    try:
        import optuna  # an optional dependency
    except ImportError as error:
        raise InputError(f"this search needs Optuna: pip install 'epochwise[optuna]' ({error})") from error
    return optuna


def _distribution(optuna: Any, one: Range) -> Any:  # noqa: ANN401  # a module, and what it makes
    """What Optuna draws for a range, see `Range.text`."""
    kinds = optuna.distributions
    if one.values and one.ordered:
        return kinds.IntDistribution(0, len(one.values) - 1)
    if one.values:
        return kinds.CategoricalDistribution(one.values)
    if one.whole:
        return kinds.IntDistribution(int(one.low), int(one.high), log=one.log)
    return kinds.FloatDistribution(one.low, one.high, log=one.log)


def _whole(sweeper: DictConfig, key: str, lowest: int) -> int:
    value = sweeper.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= INT32_MAX:
        raise InputError(f"hydra.sweeper.{key} must be a whole number of {lowest} or more, got {value!r}")
    return value
