"""The charts of a report as numbers that its template draws as SVG: places in a frame, ticks and labels."""

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from epochwise.config.schema import PATIENCE
from epochwise.report.content import ReportedSetting
from epochwise.training.history import History

WIDTH, HEIGHT = 520, 300  # of a chart, in the units of its SVG
LEFT, RIGHT, TOP, BOTTOM = 74, 12, 12, 46  # margins that hold ticks and labels, which are 18 units high on a phone
COLOURS = 8  # lines with a colour of their own in report.css, the best first; the others are grey
STEPS = (1, 2, 2.5, 5, 10)  # between ticks, times a power of ten


@dataclass(frozen=True)
class Tick:
    """A place on an axis and what stands there."""

    at: float
    label: str


@dataclass(frozen=True)
class Line:
    """A curve; `band` is the outline of mean ± standard deviation where it is over several seeds."""

    label: str
    points: str  # as SVG's polyline has them
    dots: list[tuple[float, float, str]] = field(default_factory=list)  # x, y and what is there
    band: str = ""


@dataclass(frozen=True)
class LineChart:
    """Lines in a frame with ticks on two sides, all in the units of the SVG."""

    title: str
    x_label: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    lines: list[Line]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


@dataclass(frozen=True)
class Series:
    """Values by epoch, the deviations of several seeds from them, and marks by epoch: a value and what it says."""

    label: str
    values: Mapping[int, float]
    deviations: Mapping[int, float] = field(default_factory=dict)
    marks: Mapping[int, tuple[float, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Cell:
    """One value of a heat map."""

    label: str
    share: float  # of the colour scale, 0…1
    best: bool


@dataclass(frozen=True)
class HeatMap:
    """A value for each pair of values of two parameters."""

    across_key: str
    down_key: str
    across: list[str]
    down: list[str]
    rows: list[list[Cell | None]]  # None where no run has this pair of values
    note: str


@dataclass(frozen=True)
class Axis:
    """An upright axis of parallel coordinates."""

    x: float
    label: str
    ticks: list[Tick]


@dataclass(frozen=True)
class ParallelCoordinates:
    """Upright axes side by side, and lines that cross them."""

    axes: list[Axis]
    lines: list[Line]
    width: int
    height: int = HEIGHT


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from `low` to `high`, at most `most` + 1 of them."""
    if not high > low:
        return [low]
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step * power for step in STEPS if step * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def line_chart(title: str, series: Sequence[Series]) -> LineChart:
    """A chart over epochs."""
    epochs = [epoch for one in series for epoch in one.values]
    bounds = [value for one in series for value, _ in one.marks.values()]
    for one in series:
        for epoch, value in one.values.items():
            bounds += [value - one.deviations.get(epoch, 0), value + one.deviations.get(epoch, 0)]
    first, last, low, high = min(epochs), max(epochs), min(bounds), max(bounds)
    room = (high - low) * 0.05 or abs(high) * 0.05 or 1
    low, high = low - room, high + room

    def place(epoch: float, value: float) -> tuple[float, float]:
        share = (epoch - first) / (last - first) if last > first else 0.5
        x = LEFT + 8 + share * (WIDTH - LEFT - RIGHT - 16)
        return round(x, 1), round(HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM), 1)

    whole = sorted({math.ceil(value) for value in ticks(first, last, 10)})
    values = ticks(low, high)
    digits = max((len(f"{value:.10f}".rstrip("0").partition(".")[2]) for value in values), default=0)
    lines = []
    for one in series:
        dots = [(*place(epoch, value), text) for epoch, (value, text) in one.marks.items()]
        lines.append(Line(one.label, _polyline(place(*pair) for pair in one.values.items()), dots, _band(one, place)))
    return LineChart(
        title,
        "epoch",
        [Tick(place(value, low)[0], str(value)) for value in whole if value <= last],
        [Tick(place(first, value)[1], f"{value:.{digits}f}") for value in values],
        lines,
    )


def run_series(
    history: History, names: Iterable[str], marks: Mapping[str, Mapping[int, tuple[float, str]]]
) -> list[Series]:
    """The metrics of one run, each a series."""
    return [
        Series(name, {int(row["epoch"]): row[name] for row in history}, marks=marks.get(name, {})) for name in names
    ]


def setting_series(settings: Sequence[ReportedSetting], metric: str, label: Callable[..., str]) -> list[Series]:
    """A series for each trajectory, best first: settings that differ in where their runs end lie on one line.

    Over several seeds it is the mean, with the sample standard deviation. `label` names a setting; with
    `without_epochs=True` it leaves its number of epochs out.
    """
    groups: dict[str, list[ReportedSetting]] = {}
    for setting in settings:
        epochs_matter = bool(setting.runs[0].parameters.get("train.cooldown_epochs"))
        length = () if epochs_matter else ("train.epochs", PATIENCE)
        values = {key: value for key, value in setting.values.items() if key not in length}
        groups.setdefault(str(values), []).append(setting)
    found = []
    for group in groups.values():
        longest = max(group, key=lambda setting: setting.epochs[-1])
        means, deviations = over_seeds([run.history for run in longest.runs], metric)
        ends = {}  # of each setting by its own runs, which may be of other seeds than those of the longest
        for setting in sorted(group, key=lambda setting: setting.epochs[-1]):
            for epoch, value in ends_of_runs([run.history for run in setting.runs], metric):
                ends[epoch] = value, f"{label(setting)}: {metric} {value:.4f} after epoch {epoch}"
        found.append(Series(label(longest, without_epochs=len(group) > 1), means, deviations, ends))
    return found


def over_seeds(histories: Sequence[History], metric: str) -> tuple[dict[int, float], dict[int, float]]:
    """The mean of a metric by epoch and, over several histories, its sample standard deviation.

    Both are of the epochs that all histories have: a patience may end them after different ones.
    """
    means, deviations = {}, {}
    for rows in zip(*histories, strict=False):
        epoch, values = int(rows[0]["epoch"]), [row[metric] for row in rows]
        means[epoch] = statistics.fmean(values)
        if len(values) > 1:
            deviations[epoch] = statistics.stdev(values)
    return means, deviations


def ends_of_runs(histories: Sequence[History], metric: str) -> list[tuple[int, float]]:
    """Epoch and value where runs of one setting end: their mean if all end after one epoch, else each run's own."""
    ends: dict[int, list[float]] = {}
    for history in histories:
        ends.setdefault(len(history), []).append(history[-1][metric])
    return [(epoch, statistics.fmean(values)) for epoch, values in sorted(ends.items())]


def heat_maps(settings: Sequence[ReportedSetting], keys: Sequence[str], names: Mapping[str, str]) -> list[HeatMap]:
    """val_accuracy over each pair of `keys`; where other keys vary too, that of the best setting with the pair.

    `settings` are those that compare with each other, best first.
    """
    varied = [key for key in keys if len({str(setting.values[key]) for setting in settings}) > 1]
    pairs = [(one, other) for place, one in enumerate(varied) for other in varied[place + 1 :]]
    return [_heat_map(settings, pair, names, len(varied) > 2) for pair in pairs]


def parallel_coordinates(
    settings: Sequence[ReportedSetting], keys: Sequence[str], names: Mapping[str, str], labels: Sequence[str]
) -> ParallelCoordinates | None:
    """All keys and val_accuracy, a line for each setting, best first. None for fewer than two keys or settings."""
    if len(keys) < 2 or len(settings) < 2:
        return None
    width = max(WIDTH, 150 * (len(keys) + 1))
    step = (width - 2 * LEFT) / len(keys)
    top, bottom = TOP + 24, HEIGHT - 20
    axes, places = [], []
    for number, key in enumerate(keys):
        x, values = LEFT + number * step, in_order(setting.values[key] for setting in settings)
        share = {str(value): place / max(1, len(values) - 1) for place, value in enumerate(values)}
        y_of = {text: round(bottom - part * (bottom - top), 1) for text, part in share.items()}
        axes.append(Axis(round(x, 1), names[key], [Tick(y_of[str(value)], shown(value)) for value in values]))
        places.append([(round(x, 1), y_of[str(setting.values[key])]) for setting in settings])
    scores = [float(setting.summary["val_accuracy"] or 0) for setting in settings]
    low, high = min(scores), max(scores)
    x = round(LEFT + len(keys) * step, 1)

    def height(score: float) -> float:
        return round(bottom - ((score - low) / (high - low) if high > low else 0.5) * (bottom - top), 1)

    axes.append(Axis(x, "val_accuracy", [Tick(height(score), f"{score:.4f}") for score in sorted({low, high})]))
    places.append([(x, height(score)) for score in scores])
    lines = [Line(label, _polyline(points)) for label, points in zip(labels, zip(*places, strict=True), strict=True)]
    return ParallelCoordinates(axes, lines, width)


def shown(value: object) -> str:
    """A parameter's value as text: a list as its items with spaces between them."""
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _heat_map(
    settings: Sequence[ReportedSetting], pair: tuple[str, str], names: Mapping[str, str], others: bool
) -> HeatMap:
    across, down = (in_order(setting.values[key] for setting in settings) for key in pair)
    scores: dict[tuple[str, str], float] = {}
    for setting in settings:  # best first, so that the first one stays
        where = str(setting.values[pair[0]]), str(setting.values[pair[1]])
        scores.setdefault(where, float(setting.summary["val_accuracy"] or 0))
    low, high, best = min(scores.values()), max(scores.values()), next(iter(scores))
    rows: list[list[Cell | None]] = []
    for y in down:
        row: list[Cell | None] = []
        for x in across:
            place = str(x), str(y)
            score = scores.get(place)
            share = (score - low) / (high - low) if score is not None and high > low else 0.5
            row.append(None if score is None else Cell(f"{score:.4f}", round(share, 3), place == best))
        rows.append(row)
    note = "of the best setting with the two values" if others else ""
    return HeatMap(names[pair[0]], names[pair[1]], [*map(shown, across)], [*map(shown, down)], rows, note)


def in_order(values: Iterable[Any]) -> list[Any]:
    """The distinct values: numbers in their order, then everything else in that of its text."""
    distinct = {str(value): value for value in values}
    numbers = [value for value in distinct.values() if isinstance(value, (int, float))]
    return [*sorted(numbers), *sorted((value for value in distinct.values() if value not in numbers), key=str)]


def _polyline(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in points)


def _band(series: Series, place: Callable[[float, float], tuple[float, float]]) -> str:
    if not series.deviations:
        return ""
    upper = [place(epoch, value + series.deviations[epoch]) for epoch, value in series.values.items()]
    lower = [place(epoch, value - series.deviations[epoch]) for epoch, value in series.values.items()]
    return _polyline([*upper, *reversed(lower)])
