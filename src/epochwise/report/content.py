"""What a report shows, read from run directories."""

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from epochwise.common.errors import InputError
from epochwise.common.files import read_json
from epochwise.common.paths import display_path
from epochwise.config.overrides import as_override
from epochwise.config.schema import PATIENCE, parameters
from epochwise.evaluation.file_names import CONFUSION_MATRIX, MISTAKES
from epochwise.runs.directory import RunDirectory
from epochwise.runs.record import RunRecord
from epochwise.training.history import History


@dataclass(frozen=True)
class Mistake:
    """A test image that was taken for another class."""

    index: int  # in the test set
    actual: int
    predicted: int
    probability: float  # of the predicted class
    png: str  # the image, base64

    def has_right_types(self) -> bool:
        """Whether a file that anybody may have written holds what evaluate writes."""
        numbers = self.index, self.actual, self.predicted
        return all(isinstance(number, int) for number in numbers) and (
            isinstance(self.probability, float) and isinstance(self.png, str)
        )


@dataclass(frozen=True)
class Classified:
    """What a run made of the test images."""

    counts: list[list[int]]  # actual class × predicted class
    wrong: dict[int, int]  # the predicted class of each image that was taken for another one, by its index


@dataclass(frozen=True)
class ReportedRun:
    """A finished run. Its files are read when they are first asked for."""

    directory: RunDirectory
    record: RunRecord
    metrics: dict[str, float]
    parameters: Mapping[str, Any]  # by dotted key; a sweep of an earlier version lacks those that are newer

    @property
    def id(self) -> str:
        return self.record.run_id

    @property
    def command(self) -> str:
        """The command that makes the run again, with commit and parameters; without git, the parameters alone."""
        recorded = self.record.mlflow.get("tags", {}).get("reproduce")
        given = {key: value for key, value in self.parameters.items() if value is not None}  # earlier ones lack some
        overrides = [as_override(key, value) for key, value in given.items()]
        plain = shlex.join(["epochwise", "run", *overrides])
        return str(recorded or plain)

    @cached_property
    def history(self) -> History:
        return self.directory.read_history()

    @cached_property
    def classified(self) -> Classified | None:
        """None if confusion_matrix.csv is not there or is no evaluation's."""
        try:
            text = (self.directory.evaluation / CONFUSION_MATRIX).read_text(encoding="utf-8")
            heads, *lines = text.splitlines()
            pairs = {line: tuple(map(int, line.split(","))) for line in set(lines)}  # int() for each of 10,000 is slow
            if heads != "actual,predicted" or any(len(pair) != 2 or min(pair) < 0 for pair in pairs.values()):
                return None
        except (OSError, ValueError):
            return None
        classes = 1 + max(map(max, pairs.values()), default=0)
        counts = [[0] * classes for _ in range(classes)]
        for line, count in Counter(lines).items():
            actual, predicted = pairs[line]
            counts[actual][predicted] += count
        wrong = {line for line, (actual, predicted) in pairs.items() if actual != predicted}
        return Classified(counts, {index: pairs[line][1] for index, line in enumerate(lines) if line in wrong})

    @cached_property
    def mistakes(self) -> list[Mistake]:
        """The most confident ones first; empty for a run of an earlier version, which did not keep them."""
        try:
            found = [Mistake(**mistake) for mistake in read_json(self.directory.evaluation / MISTAKES)["mistakes"]]
        except (InputError, KeyError, TypeError):
            return []
        return found if all(mistake.has_right_types() for mistake in found) else []

    @property
    def folder(self) -> str:
        return display_path(self.directory.path)

    @property
    def class_names(self) -> list[str]:
        """The names of the classes; empty if they have none."""
        names = self.record.mlflow.get("dataset", {}).get("meta", {}).get("class_names") or []
        return [str(name) for name in names]


@dataclass(frozen=True)
class ReportedSetting:
    """Parameters but for the seed, and the runs with them, best first."""

    values: dict[str, Any]  # of the keys that set settings apart, by dotted key
    runs: list[ReportedRun]
    summary: Mapping[str, float | None]  # as in leaderboard.json: means and, as NAME_sd, standard deviations

    @property
    def epochs(self) -> list[int]:
        """How many epochs its runs consist of, ascending; a patience may end them after different ones."""
        return sorted({run.record.epochs for run in self.runs})

    @property
    def median(self) -> ReportedRun:
        """The run with the median of val_accuracy; of two in the middle the better one, as `promote` takes it."""
        return self.runs[(len(self.runs) - 1) // 2]


@dataclass(frozen=True)
class Report:
    """One page: settings best first, and what surrounds them."""

    title: str
    command: str  # that made the sweep or the run
    validation: str  # what validation metrics are measured on
    keys: list[str]  # the parameters that set settings apart
    settings: list[ReportedSetting]
    notes: list[str] = field(default_factory=list)  # how it is ranked, costs
    problems: list[str] = field(default_factory=list)  # points that failed or were not run
    has_rungs: bool = False  # whether it is a search that drops settings: they have trained for unequal times

    @property
    def on_best_rung(self) -> list[ReportedSetting]:
        """The settings that came as far as the best one, which alone compare with it; all if there are no rungs."""
        furthest = self.settings[0].runs[0].record.epochs if self.settings else 0
        return [one for one in self.settings if not self.has_rungs or one.runs[0].record.epochs == furthest]

    @property
    def runs(self) -> list[ReportedRun]:
        return [run for setting in self.settings for run in setting.runs]

    @property
    def shows_epochs(self) -> bool:
        """Whether there is a column with the epochs that runs consist of, which no parameter says."""
        return "train.epochs" not in self.keys or has_patience(run.parameters for run in self.runs)


def has_patience(parameters: Iterable[Mapping[str, Any]]) -> bool:
    """Whether the patience of a run may have ended it before `train.epochs`."""
    return any(values.get(PATIENCE) is not None for values in parameters)


def report_of_run(directory: RunDirectory, record: RunRecord) -> Report:
    """The report of a single run that is evaluated. Raises InputError if a file of it is missing or damaged."""
    values, metrics = parameters(directory.read_config()), directory.read_own_metrics()
    if not metrics:
        raise InputError(f"{directory.path}: is not evaluated since it was trained; run `dvc repro` or train again")
    run = ReportedRun(directory, record, metrics, values)
    validation = "validation images" if values["prepare.validation_size"] else "the test set"
    setting = ReportedSetting({}, [run], metrics)
    return Report(f"run {run.record.name or run.id}", run.command, validation, [], [setting])
