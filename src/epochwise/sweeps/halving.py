"""Successive halving: which settings of a rung go on to the next one, decided from their run directories alone.

A rung is a number of epochs. Of n settings, n/η go on from the first rung, n/η² from the second, and so on, rounded
down, at least one: those with the highest val_accuracy, of equal ones those with the lowest val_loss (Jamieson and
Talwalkar 2016, Li and others 2018). With `keep_ties` all settings within chance of the last of these go on, too. As the
decision waits for every run of the rung, it is the same with any number of workers and after any crash.
"""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from epochwise.common.errors import InputError
from epochwise.evaluation.file_names import VALIDATION_PREDICTIONS
from epochwise.evaluation.validation_predictions import read_correct
from epochwise.runs.directory import RunDirectory
from epochwise.sweeps.directory import ended_runs
from epochwise.sweeps.paired_test import LEVEL, p_value
from epochwise.sweeps.record import Point, SweepRecord
from epochwise.trajectory.identity import fingerprint

RUNG_KEY = "train.epochs"
DIGITS = 12  # of a mean val_accuracy: 199 and 201 images are as many as twice 200, but their mean ends otherwise


@dataclass(frozen=True)
class Entry:
    """A setting on a rung: its points, one for each seed, and the means of what they reached."""

    key: str  # see `setting_key`
    points: list[Point]
    val_accuracy: float
    val_loss: float
    correct: np.ndarray | None  # which validation images each of the runs classifies correctly (R×N); None: not kept

    @property
    def data_sha256(self) -> str | None:
        return self.points[0].data_sha256


@dataclass(frozen=True)
class Decision:
    """What was decided on a rung. Settings are given by their keys; those that diverged are dropped."""

    bracket: int
    epochs: int
    ranked: list[Entry]  # the best first, without those that diverged
    diverged: list[str]
    best: list[str]  # go on for their rank
    ties: dict[str, float]  # go on because they are within chance of the last of the best: the p-values
    untested: list[str]  # were dropped by their rank alone: their images, or their predictions, cannot be compared

    @property
    def promoted(self) -> list[str]:
        return [*self.best, *self.ties]


def setting_key(parameters: Mapping[str, Any]) -> str:
    """What is the same on all rungs and for all seeds of a setting, as one text."""
    values = {key: value for key, value in parameters.items() if key not in ("seed", RUNG_KEY)}
    return json.dumps(values, sort_keys=True)  # points of an earlier version have them in another order


def by_setting(points: Iterable[Point]) -> dict[str, list[Point]]:
    """The points of each setting, in their order; of those that have a seed and a rung in common only the first.

    A value that was typed twice gives such points, and a run that counted twice would not compare with others.
    """
    settings: dict[str, dict[tuple[Any, Any], Point]] = {}
    for point in points:
        own = settings.setdefault(setting_key(point.parameters), {})
        own.setdefault((point.parameters["seed"], point.parameters[RUNG_KEY]), point)
    return {key: list(own.values()) for key, own in settings.items()}


def distinct_settings(points: Iterable[Point]) -> dict[str, list[Point]]:
    """As `by_setting`, but of settings that are the very same runs only the first, so that these count once.

    A parameter that another one makes ineffective gives such settings: beta_1 of an optimizer that has none.
    """
    settings = by_setting(points)
    runs = {key: tuple(point.fingerprint for point in own) for key, own in settings.items()}
    first = {same: key for key, same in reversed(runs.items())}
    return {key: own for key, own in settings.items() if None in runs[key] or first[runs[key]] == key}


def rank(val_accuracy: float, val_loss: float) -> tuple[float, float]:
    """By which settings are ranked, the lowest first: the highest val_accuracy, of equal ones the lowest val_loss."""
    return -round(val_accuracy, DIGITS), val_loss


def kept(settings: int, eta: int, rung: int) -> int:
    """How many of so many settings go on from a rung, counted from 1, for their rank."""
    return max(1, settings // eta**rung)


def on_rung(sweep: SweepRecord, point: Point, epochs: int, job: int) -> Point:
    """The point of the same setting and seed on another rung. `job` is its number. The point's data is prepared."""
    parameters = point.parameters | {RUNG_KEY: epochs}
    identified = fingerprint(parameters, str(point.data_sha256), sweep.mixed)
    return replace(point, job=job, parameters=parameters, fingerprint=identified)


def unfinished(root: Path, sweep: SweepRecord, points: Sequence[Point]) -> list[Point]:
    """The points of which it is not known how they end. One that diverged would end so again."""
    ended = ended_runs(root, sweep, points)
    return [point for point in points if point.job not in ended]


def read_rung(root: Path, sweep: SweepRecord, points: Sequence[Point]) -> tuple[list[Entry], list[str]]:
    """The settings on a rung, in their order, and the keys of those of which a run diverged; see `distinct_settings`.

    `points` have ended. Raises InputError if a file of a run is damaged, or if a run has been deleted since it ended.
    """
    ended = ended_runs(root, sweep, points)
    for point in points:
        if point.job not in ended:
            run = sweep.run_directory(point).path
            raise InputError(f"{run}: the run was deleted while its results were read; run it again")
    entries, diverged = [], []
    for key, own in distinct_settings(points).items():
        if any(point.job in ended.diverged for point in own):
            diverged.append(key)
        else:
            entries.append(read_entry(key, own, [ended.finished[point.job] for point in own]))
    return entries, diverged


def decide(
    entries: Sequence[Entry], diverged: Sequence[str], keep: int, keep_ties: bool, bracket: int, epochs: int
) -> Decision:
    """Which of the settings on a rung go on: the best `keep` and, with `keep_ties`, those within chance of them."""
    ranked = sorted(entries, key=lambda one: rank(one.val_accuracy, one.val_loss))  # equal ones stay in their order
    best, rest = ranked[:keep], ranked[keep:]
    ties, untested = {}, []
    for entry in rest if keep_ties else ():
        chance = probability_of_chance(best[-1], entry)
        if chance is None:
            untested.append(entry.key)
        elif chance >= LEVEL:
            ties[entry.key] = chance
    return Decision(bracket, epochs, ranked, list(diverged), [entry.key for entry in best], ties, untested)


def dropped_settings(decisions: Sequence[Decision], last_rung: int) -> dict[str, int]:
    """After how many epochs a search dropped each setting that it did drop, by key.

    A setting that several brackets have drawn counts where it came furthest, and one that diverged was dropped after
    the last rung that it finished.
    """
    reached: dict[str, int] = {}
    for decision in sorted(decisions, key=lambda decision: decision.epochs):
        reached |= dict.fromkeys((entry.key for entry in decision.ranked), decision.epochs)
    dropped = {key: epochs for key, epochs in reached.items() if epochs != last_rung}
    for decision in decisions:
        for key in decision.promoted:
            if dropped.get(key) == decision.epochs:
                del dropped[key]
    for decision in decisions:
        for key in decision.diverged:
            if reached.get(key, decision.epochs) < decision.epochs:
                dropped[key] = reached[key]
    return dropped


def probability_of_chance(one: Entry, other: Entry) -> float | None:
    """The p-value of the difference between two settings; None if they were not measured on the same images."""
    if one.correct is None or other.correct is None or one.data_sha256 != other.data_sha256:
        return None
    if one.correct.shape[1] != other.correct.shape[1]:  # of runs whose records do not say how many there are
        return None
    return p_value(one.correct, other.correct)


def read_entry(key: str, points: list[Point], runs: list[RunDirectory]) -> Entry:
    """A setting whose runs are finished. Raises InputError if a file of a run is damaged."""
    metrics = [run.read_metrics() for run in runs]
    means = [statistics.fmean(one[name] for one in metrics) for name in ("val_accuracy", "val_loss")]
    correct = [_read_correct(run, one["val_accuracy"]) for run, one in zip(runs, metrics, strict=True)]
    known = [one for one in correct if one is not None]
    same_images = len({len(one) for one in known}) == len({point.data_sha256 for point in points}) == 1
    comparable = len(known) == len(correct) and same_images
    return Entry(key, points, means[0], means[1], np.stack(known) if comparable else None)


def _read_correct(run: RunDirectory, val_accuracy: float) -> np.ndarray | None:
    """See `read_correct`; a file that lacks its end may have the right share of correct images nevertheless."""
    correct, images = read_correct(run.evaluation, val_accuracy), run.read_record().validation_images
    if correct is not None and images is not None and len(correct) != images:
        found = f"{run.evaluation / VALIDATION_PREDICTIONS}: has {len(correct)} of {images} images"
        raise InputError(f"{found}; remove it, or run again with sweep.rerun=true")
    return correct
