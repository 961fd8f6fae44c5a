"""The leaderboard of a sweep: its settings, best first by validation, what they cost, and what failed.

Made from run directories alone. The test set is shown but never ranks.
"""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from epochwise.common.errors import InputError
from epochwise.common.paths import display_path
from epochwise.config.schema import PATIENCE
from epochwise.report.content import has_patience
from epochwise.runs.directory import RunDirectory
from epochwise.runs.record import RunRecord
from epochwise.sweeps.beside_best import BesideBest, compare_with_best
from epochwise.sweeps.directory import ended_runs, log_file, read_failure
from epochwise.sweeps.halving import RUNG_KEY, Decision, dropped_settings, rank, setting_key
from epochwise.sweeps.record import Point, SweepRecord
from epochwise.sweeps.regret import Regret, regrets
from epochwise.sweeps.search import decisions


@dataclass(frozen=True)
class Result:
    """A finished run of the sweep."""

    point: Point
    run: RunDirectory
    record: RunRecord
    metrics: dict[str, float]  # of metrics.json


@dataclass(frozen=True)
class Setting:
    """All parameters but the seed, and the finished runs with them on the same data, one for each seed, best first."""

    parameters: dict[str, Any]
    results: list[Result]

    @property
    def median(self) -> Result:
        """The run with the median of val_accuracy; of two in the middle the better one."""
        return self.results[(len(self.results) - 1) // 2]

    @property
    def epochs(self) -> list[int]:
        """How many epochs each of its runs consists of; a patience may end them after different ones."""
        return [result.record.epochs for result in self.results]

    def mean(self, metric: str) -> float:
        return statistics.fmean(result.metrics[metric] for result in self.results)

    def deviation(self, metric: str) -> float | None:
        """The sample standard deviation over the runs; None for one run."""
        values = [result.metrics[metric] for result in self.results]
        return statistics.stdev(values) if len(values) > 1 else None


@dataclass(frozen=True)
class Leaderboard:
    """Settings, best first; then the points that failed, with the reason, and those that were not run, by name.

    Of a search each setting stands on the highest rung that all of its seeds have reached without diverging, as far as
    they are finished, and higher rungs come first.
    """

    sweep: SweepRecord
    settings: list[Setting]
    failures: list[tuple[str, str]]
    missing: list[str]
    several: bool = False  # whether `sweep` stands for several sweeps
    superseded: list[RunDirectory] = field(default_factory=list)  # of a search: on other rungs than those shown
    decisions: list[Decision] = field(default_factory=list)  # of a search: what was decided on each rung
    regrets: list[Regret] = field(default_factory=list)  # of the search that this sweep is or finishes
    undecided: str = ""  # why it is not known what a search decided: a file of one of its runs is damaged
    repeated: list[Result] = field(default_factory=list)  # of several sweeps: as another one but for code or machine
    beside_best: BesideBest = field(default_factory=BesideBest)  # which settings differ from the best by chance only
    broken_off: list[str] = field(default_factory=list)  # the ids of those of the sweeps that are unfinished searches

    @property
    def keys(self) -> list[str]:
        """The parameters that set settings apart."""
        return [key for key in self.sweep.varied if key != "seed"]

    @property
    def results(self) -> list[Result]:
        """All finished runs, those of the best setting first."""
        return [result for setting in self.settings for result in setting.results]

    @property
    def best(self) -> Result | None:
        """The best run of the best setting."""
        return next(iter(self.results), None)

    @property
    def ended_early(self) -> list[Result]:
        """The runs that their patience has ended before `train.epochs`."""
        patient = [result for result in self.results if result.point.parameters.get(PATIENCE) is not None]
        return [result for result in patient if result.record.epochs < result.point.parameters[RUNG_KEY]]

    @property
    def shows_epochs(self) -> bool:
        """Whether the epochs that runs consist of have a column of their own, since no parameter says it."""
        return "train.epochs" not in self.keys or has_patience(result.point.parameters for result in self.results)

    def dropped_at(self, setting: Setting) -> int | None:
        """After how many epochs a search has dropped this setting; None if it has not."""
        return self._dropped.get(setting_key(setting.parameters))

    @cached_property
    def _dropped(self) -> dict[str, int]:
        return dropped_settings(self.decisions, self.rungs[-1]) if self.rungs else {}

    @property
    def rungs(self) -> list[int]:
        """The numbers of epochs at which a search drops settings; none if it drops none, or if this is no search."""
        rungs = self.sweep.search.get("rungs", [])
        return rungs if len(rungs) > 1 else []

    @property
    def on_best_rung(self) -> list[Setting]:
        """The settings that came as far as the best one, which alone compare with it; all if there are no rungs."""
        furthest = self.settings[0].parameters[RUNG_KEY] if self.settings else 0
        return [one for one in self.settings if not self.rungs or one.parameters[RUNG_KEY] == furthest]

    @property
    def keys_on_rung(self) -> list[str]:
        """The parameters that set settings apart which came as far: on a rung all have as many epochs."""
        return [key for key in self.keys if not (self.rungs and key == RUNG_KEY)]

    @property
    def finished_searches(self) -> list[SweepRecord]:
        """The searches that this grid finishes: what their leaderboards say of their regret has changed."""
        return [regret.sweep for regret in self.regrets if regret.sweep.id != self.sweep.id]

    @property
    def validation(self) -> str:
        """What validation metrics are measured on."""
        return "the test set" if self.sweep.validates_on_test else "validation images"


def make_leaderboard(root: Path, sweep: SweepRecord, *others: SweepRecord) -> Leaderboard:
    """The leaderboard of what is finished now, of one sweep or of several together."""
    results: dict[RunDirectory, Result] = {}
    failures: list[tuple[str, str]] = []
    missing: list[str] = []
    diverged: set[str] = set()  # settings
    for one in (sweep, *others):
        ended = ended_runs(root, one)
        diverged |= {_setting(point) for point in one.points if point.job in ended.diverged}
        for point in one.points:
            run = ended.finished.get(point.job)
            if run and run not in results:  # two points of a grid can be the same run
                results[run] = Result(point, run, run.read_record(), run.read_metrics())
        unfinished = [point for point in one.points if point.job not in ended.finished]
        reasons = _failures(one, unfinished, ended.diverged)
        failures += [(point.name, reasons[point.job]) for point in unfinished if point.job in reasons]
        missing += [point.name for point in unfinished if point.job not in reasons]
    by_setting: dict[tuple[str, str | None], dict[int, Result]] = {}
    shown, repeated = _together([sweep, *others]) if others else sweep, list[Result]()
    for result in results.values():
        if not (shown.search and _setting(result.point) in diverged):  # which a search drops, with all of its seeds
            own = by_setting.setdefault((_setting(result.point), result.point.data_sha256), {})
            if own.setdefault(result.point.parameters["seed"], result) is not result:
                repeated.append(result)
    groups = [list(group.values()) for group in by_setting.values()]
    settings = [Setting(_without_seed(group[0].point), sorted(group, key=_rank)) for group in groups]
    if shown.search:
        settings = _furthest(settings)
    settings.sort(key=lambda one: (_rung(shown, one), rank(one.mean("val_accuracy"), one.mean("val_loss"))))
    ranked = {result.run for setting in settings for result in setting.results}
    superseded = [run for run in results if run not in ranked]
    decided, missed, undecided = list[Decision](), list[Regret](), ""
    try:
        decided, missed = decisions(root, shown), [] if others else regrets(root, sweep)
    except InputError as error:  # one damaged file must not cost the leaderboard of all other runs
        undecided = str(error)
    made = Leaderboard(shown, settings, failures, missing, bool(others), superseded, decided, missed, undecided)
    compared = [[(result.point, result.run) for result in setting.results] for setting in made.on_best_rung]
    broken_off = [one.id for one in (sweep, *others) if one.is_broken_off]
    return replace(made, repeated=repeated, beside_best=compare_with_best(compared), broken_off=broken_off)


def _furthest(settings: Sequence[Setting]) -> list[Setting]:
    """Each setting of a search on the highest rung that it reached."""
    in_order = sorted(settings, key=lambda setting: setting.parameters[RUNG_KEY])
    return list({setting_key(setting.parameters): setting for setting in in_order}.values())


def _rung(sweep: SweepRecord, setting: Setting) -> int:
    """By which a search's settings are ranked first: the higher the rung, the lower."""
    return -setting.parameters[RUNG_KEY] if sweep.search else 0


def _together(sweeps: Sequence[SweepRecord]) -> SweepRecord:
    """What the leaderboard of several sweeps says of them as one."""
    points = [point for sweep in sweeps for point in sweep.points]
    keys = dict.fromkeys(key for point in points for key in point.parameters)
    varied = [key for key in keys if len({json.dumps(point.parameters.get(key)) for point in points}) > 1]
    return replace(
        sweeps[0],
        id=" and ".join(sweep.id for sweep in sweeps),
        command="; ".join(sweep.command for sweep in sweeps),
        varied=varied,
        points=points,
        validates_on_test=any(sweep.validates_on_test for sweep in sweeps),
        reuse=any(sweep.reuse for sweep in sweeps),
        link="",
        search={},
    )


def _without_seed(point: Point) -> dict[str, Any]:
    return {key: value for key, value in point.parameters.items() if key != "seed"}


def _setting(point: Point) -> str:
    """What the runs of a setting have in common, as one text."""
    return json.dumps(_without_seed(point), sort_keys=True)


def _rank(result: Result) -> tuple[float, float]:
    return -result.metrics["val_accuracy"], result.metrics["val_loss"]


def _failures(sweep: SweepRecord, unfinished: Sequence[Point], diverged: Mapping[int, RunDirectory]) -> dict[int, str]:
    """Why points failed, by job, and where the log is.

    The reason stands in sweep.json; that of a run which another launcher than ours or a SLURM cluster has run, in its
    own directory. A run of a search that diverged may lie in another sweep's directory.
    """
    points = {point.job: point for point in sweep.points}
    of_run = {points[job].fingerprint: reason for job, reason in sweep.failures.items() if job in points}
    of_run.pop(None, None)
    reasons = {}
    for point in unfinished:
        # Of points that are the same run only the first is run, so its failure is theirs.
        run = diverged.get(point.job) or sweep.run_directory(point)
        reason = sweep.failures.get(point.job) or of_run.get(point.fingerprint) or read_failure(run)
        if reason:
            log = log_file(run)
            reasons[point.job] = reason + (f" (log: {display_path(log)})" if log.is_file() else "")
    return reasons
