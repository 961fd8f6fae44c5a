"""The space that a sampler draws settings from: ranges in Hydra's syntax, read from a command line and checked."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Context
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override
from omegaconf import DictConfig

from epochwise.common.errors import InputError, one_line
from epochwise.common.paths import find_root
from epochwise.config import overrides
from epochwise.config.compose import load, load_jobs
from epochwise.config.schema import holds_whole_number, is_parameter, parameters
from epochwise.sweeps.grid import SEED_KEY, differing, swept_overrides
from epochwise.sweeps.halving import RUNG_KEY

MAX_VALUES = 1000  # of a list or range; an interval has as many as one likes
SIGNIFICANT_DIGITS = 4  # of a number from an interval, so that names and tables can be read


@dataclass(frozen=True)
class Range:
    """The values that a key may have: those of an interval from `low` to `high`, or else those of `values`."""

    key: str  # as it was typed, with a plus if it had one
    values: tuple[str, ...] = ()
    ordered: bool = False  # whether neighbours among `values` are alike, as in range(16,129,16)
    low: float = 0
    high: float = 0
    whole: bool = False  # whole numbers, `high` included; else any number below `high`
    log: bool = False  # drawn evenly over the orders of magnitude

    @property
    def extremes(self) -> list[str]:
        """The values that show whether all of them are allowed: what limits a number is an interval, or 0 and one."""
        if self.values:
            return list(dict.fromkeys((*self.values[:2], *self.values[-2:]) if self.ordered else self.values))
        if self.whole:
            found = [self.low, min(self.low + 1, self.high), self.high]
        else:  # the legible one first, which a refusal then names
            found = [self.low, self._below_high, math.nextafter(self.high, self.low)]
        return [repr(number) for number in dict.fromkeys(found)]

    def text(self, drawn: Any) -> str:  # noqa: ANN401  # what Optuna has drawn: a number, or the place of a value
        """The value that was drawn, as it is typed."""
        if self.values:
            return self.values[drawn] if self.ordered else str(drawn)
        if self.whole:
            return str(int(drawn))
        rounded = float(f"{drawn:.{SIGNIFICANT_DIGITS}g}")
        # Optuna's intervals include the upper limit, which a parameter may not have, and the logarithm of the lower one
        # may be that of a number just below it.
        within = rounded if self.low <= rounded < self.high else min(max(float(drawn), self.low), self._below_high)
        return repr(within)

    @property
    def _below_high(self) -> float:
        """The number just below `high`, with as many digits as others have unless the interval is too narrow for it."""
        below = math.nextafter(self.high, self.low)
        rounded = float(Context(prec=SIGNIFICANT_DIGITS, rounding=ROUND_FLOOR).create_decimal_from_float(below))
        return rounded if self.low < rounded < self.high else below


@dataclass(frozen=True)
class Space:
    """What a command line fixes, and what it leaves to a sampler. Each setting is run on all rungs, with all seeds."""

    fixed: list[str]
    ranges: list[Range]
    rungs: list[int]
    seeds: list[str]  # overrides; empty if the command line gives none or one, which is fixed

    @property
    def varied(self) -> list[str]:
        """The keys in which runs may differ, as typed: parameters, and `experiment`."""
        rungs, seeds = [RUNG_KEY] * (len(self.rungs) > 1), [SEED_KEY] * bool(self.seeds)
        return [*(one.key.lstrip("+") for one in self.ranges), *rungs, *seeds]

    def jobs(self, drawn: Mapping[str, Any]) -> list[list[str]]:
        """The overrides of the jobs of one setting, for which a value of each range was drawn."""
        setting = [f"{one.key}={one.text(drawn[one.key])}" for one in self.ranges]
        rungs = [f"{RUNG_KEY}={epochs}" for epochs in self.rungs]
        axes = [rungs, self.seeds] if self.seeds else [rungs]
        return [[*self.fixed, *setting, *job] for job in itertools.product(*axes)]

    def name(self, job: Sequence[str]) -> str:
        """What sets a job apart: `dense_dropout=0.31 epochs=3`."""
        given = [override.lstrip("+").partition("=") for override in job]
        return " ".join(f"{key.split('.')[-1]}={value}" for key, _, value in given if key in self.varied)


def read_space(typed: Sequence[str], settings: DictConfig) -> Space:
    """The space of a command line. Raises InputError with one line that names the range which is wrong."""
    given = {override.key_or_group: override for override in overrides.parse(swept_overrides(typed, settings))}
    swept = {key: override for key, override in given.items() if override.is_sweep_override()}
    fixed = [str(override.input_line) for key, override in given.items() if key not in swept]
    rungs = sorted({_whole(text, swept[RUNG_KEY]) for text in _values(swept[RUNG_KEY])}) if RUNG_KEY in swept else []
    seeds = [f"{SEED_KEY}={text}" for text in _values(swept[SEED_KEY])] if SEED_KEY in swept else []
    ranges = [_range(override) for key, override in swept.items() if key not in (RUNG_KEY, SEED_KEY)]
    if not ranges:
        raise InputError("a search needs a range to draw from, such as model.dense_dropout=interval(0.0,0.8)")
    on_rungs = [f"{RUNG_KEY}={epochs}" for epochs in rungs]
    base = load([*fixed, *on_rungs[-1:]])
    _check(fixed, [*on_rungs, *seeds], swept)
    _check([*fixed, *on_rungs[:1]], [f"{one.key}={text}" for one in ranges for text in one.extremes], swept)
    return Space(fixed, ranges, rungs or [base.train.epochs], seeds)


def parameters_of(space: Space) -> list[str]:
    """The parameters in which runs may differ; instead of `experiment`, those in which its presets differ."""
    found = dict.fromkeys(key for key in space.varied if is_parameter(key))
    for one in space.ranges:
        if not is_parameter(one.key.lstrip("+")):
            jobs = [[*space.fixed, f"{one.key}={value}", f"{RUNG_KEY}={space.rungs[0]}"] for value in one.values]
            found |= dict.fromkeys(differing([parameters(cfg) for cfg in load_jobs(jobs)]))
    return list(found)


def _check(fixed: Sequence[str], values: Sequence[str], swept: Mapping[str, Override]) -> None:
    """Refuse the first of these overrides that is not allowed, with the range that it is from."""
    with suppress(InputError):
        load_jobs([[*fixed, value] for value in values])  # all at once: to compose takes 0.1 s
        return
    for value in values:
        try:
            load([*fixed, value])
        except InputError as error:
            origin = swept[value.lstrip("+").partition("=")[0]].input_line
            raise InputError(f"command line: {origin}: {one_line(error)}") from error


def _range(override: Override) -> Range:
    key = override.get_key_element()
    if not override.is_interval_sweep():
        return Range(key, tuple(_values(override)), ordered=override.is_range_sweep())
    interval = override.value()
    assert isinstance(interval, IntervalSweep)
    whole, log = holds_whole_number(override.key_or_group), "log" in interval.tags
    low, high = float(interval.start or 0), float(interval.end or 0)
    other = sorted(interval.tags - {"log"})
    if other:
        raise _refusal(override, f"the only tag is log, got {', '.join(other)}")
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise _refusal(override, "an interval goes from a number up to a larger one, such as interval(0.0,0.8)")
    if log and low <= 0:
        raise _refusal(override, "a logarithmic interval starts above 0")
    if whole:
        low, high = math.ceil(low), math.floor(high)
        if low > high:
            raise _refusal(override, f"there is no whole number in it, and {override.key_or_group} is one")
    return Range(key, low=low, high=high, whole=whole, log=log)


def _values(override: Override) -> Iterator[str]:
    """The values of a list or a range, as they are typed."""
    if override.is_interval_sweep():
        raise _refusal(override, f"{override.key_or_group} needs values, such as {override.key_or_group}=1,3,9")
    value = override.value()
    if getattr(value, "tags", None):
        raise _refusal(override, "tags are for intervals")
    if getattr(value, "shuffle", False):
        raise _refusal(override, "shuffle() gives another order each time, so no run could be found again")
    try:
        (written_out,) = overrides.parse([overrides.written_out(str(override.input_line), find_root() / "conf")])
        found = list(itertools.islice(written_out.sweep_string_iterator(), MAX_VALUES + 1))
    except InputError:
        raise
    except Exception as error:  # Hydra's, and Python's for a range that cannot be counted
        raise _refusal(override, one_line(error)) from error
    if not 0 < len(found) <= MAX_VALUES:
        raise _refusal(override, f"must have 1 to {MAX_VALUES} values; an interval has more")
    return iter(dict.fromkeys(found))


def _whole(text: str, override: Override) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise _refusal(override, f"{RUNG_KEY} is a whole number, got {text}") from error


def _refusal(override: Override, reason: str) -> InputError:
    return InputError(f"command line: {override.input_line}: {reason}")
