"""Overrides on the command line: parsed as Hydra does, expanded into the jobs of a grid, refused where unknown."""

import difflib
import functools
import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, Override, RangeSweep, Sweep
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from epochwise.common.errors import InputError, one_line
from epochwise.config.schema import OWN_PARAMETERS, is_parameter, leaf_keys

HYDRA_WORDS = ("true", "false", "null", "nan", "inf")  # Hydra reads these as values, not as text
DIGITS = 12  # of the numbers that make a range
MOST_VALUES = 100_000  # of a range; a sweep of more is a typing error
MAPPINGS = ("params", "resources", "sbatch")  # keys of launchers and sweepers with names that are not known here
KEYS = "`epochwise run --help` lists the keys"
QUOTED_OR_BRACKET = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|\\.|['"()\[\]{}]""")
BRACKETS = {"(": ")", "[": "]", "{": "}"}
RENAMED_PRESETS = {"experiment=seed": "experiment=writeup"}


def parse(typed: Iterable[str]) -> list[Override]:
    """Raises InputError for what is not `key=value`."""
    return [_parse_one(override) for override in typed]


@functools.lru_cache(maxsize=4096)  # Hydra's parser takes some milliseconds, and the jobs of a grid repeat overrides
def _parse_one(override: str) -> Override:
    try:
        parsed = OverridesParser.create().parse_override(override)
    except HydraException as error:
        raise InputError(f"not an override: {override}; {_mistake(override, error)}") from error
    if _holds_sweep(parsed.value()):
        raise InputError(f"not an override: {override}; range() and the like stand alone, not among other values")
    return parsed


def _holds_sweep(value: Any) -> bool:  # noqa: ANN401  # whatever Hydra's parser gives
    """Whether there is a sweep inside a list, a mapping or another sweep, which Hydra accepts and cannot expand."""
    parts = value.list if isinstance(value, ChoiceSweep) else value.values() if isinstance(value, dict) else value
    inside = list(parts) if isinstance(value, (ChoiceSweep, dict, list)) else []
    return any(isinstance(part, (Sweep, Glob)) or _holds_sweep(part) for part in inside)


def _mistake(override: str, error: HydraException) -> str:
    """Why Hydra cannot read an override: the likeliest of a user's mistakes, in one line."""
    key, equals, value = override.partition("=")
    if not equals or " " in key:
        return "write key=value"
    expected: list[str] = []  # the brackets that close those which are open
    for found in QUOTED_OR_BRACKET.findall(value):
        if found in BRACKETS:
            expected.append(BRACKETS[found])
        elif found in BRACKETS.values() and (not expected or expected.pop() != found):
            return f"the bracket {found} closes none that is open"
        elif found in "'\"":
            return f"the quote {found} is not closed"
    if expected:
        return f"the closing bracket {expected[-1]} is missing"
    if "while evaluating" in str(error):  # a function of Hydra's, such as range()
        return one_line(error).partition("while evaluating ")[2]
    if not all(part.strip() for part in value.split(",")):
        return "a value is missing beside a comma"
    return "a value with such characters is written in quotes within quotes: " + f""""{key}='…'\""""


def written_out(override: str, conf: Path) -> str:
    """An override whose sweep is written out: `0.1,0.2,0.3` for `range(0.1,0.4,0.1)`, names of presets for `glob(*)`.

    Hydra adds steps of a range as binary numbers, which gives 0.30000000000000004, and in `range(0.1,1.0,0.1)` one
    number too many. Any other override is returned as it is. Raises InputError if there is nothing in the sweep.
    """
    parsed = _parse_one(override)
    swept: Any = parsed.value()
    if isinstance(swept, RangeSweep):
        values = [repr(value) for value in _float_range(swept, override)]
        if values and isinstance(swept.range(), range):
            return override
    elif isinstance(swept, Glob):
        values = swept.filter(_presets(conf, parsed.key_or_group))
    else:
        return override
    if not values:
        presets = ", ".join(_presets(conf, parsed.key_or_group))
        met = f"the pattern meets none of {presets}" if presets else "glob() chooses presets, as in experiment=glob(*)"
        problem = met if isinstance(swept, Glob) else "there is no value in this range"
        raise InputError(f"command line: {override}: {problem}")
    if swept.__class__ is RangeSweep and swept.shuffle:
        return f"{override.partition('=')[0]}=shuffle({','.join(values)})"
    return f"{override.partition('=')[0]}={','.join(values)}"


def grid(typed: Iterable[str]) -> list[list[str]]:
    """The jobs of a multirun, each as its list of overrides, in Hydra's own order. Raises InputError on bad syntax."""
    try:
        return [list(job) for batch in BasicSweeper.split_arguments(parse(typed), None) for job in batch]
    except HydraException as error:
        raise InputError(f"command line: not a grid of values: {one_line(error)}") from error


def as_override(key: str, value: object) -> str:
    """The override that gives `value` to `key`."""
    return f"{key}={_quoted(value)}"


def is_group(override: Override, conf: Path) -> bool:
    """Whether the override chooses a file of a config group, such as `experiment=quick`."""
    return (conf / override.key_or_group).is_dir() or override.key_or_group.startswith("hydra/")


def refuse_unknown(typed: Iterable[str], known: Sequence[str], conf: Path) -> None:
    """Raise InputError for an override whose key is neither `known` nor a config group, or that names no preset."""
    groups = _groups(conf)
    for override in parse(typed):
        key = override.key_or_group
        if override.is_sweep_override():
            raise InputError(f"command line: {override.input_line} is a sweep; use `epochwise run -m`")
        if key in groups and not key.startswith("hydra"):
            _refuse_unknown_preset(override, _presets(conf, key))
        elif not (_covers(key, known) or is_parameter(key) or key.startswith(("hydra.", "hydra/"))):
            raise InputError(f"command line: unknown key {key}{did_you_mean(key, [*known, *groups])}")


def refuse_unknown_settings(typed: Iterable[str], settings: DictConfig, conf: Path) -> None:
    """Raise InputError for an override of Hydra's own settings whose key or config group is not in `settings`.

    With a plus, keys can be added, but not to a launcher or sweeper of conf/: it would not know them.
    """
    groups = [group for group in settings.runtime.choices if group.startswith("hydra/")]
    for override in parse(typed):
        key, added = override.key_or_group, override.is_add() or override.is_force_add()
        section, _, rest = key.removeprefix("hydra.").partition(".")
        if key.startswith("hydra/"):
            if key.partition("@")[0] not in groups:
                raise InputError(f"command line: unknown key {key}{did_you_mean(key, groups)}")
        elif key.startswith("hydra.") and f"hydra/{section}" in groups and section in ("launcher", "sweeper"):
            value: Any = override.value()
            if override.is_delete():
                raise InputError(f"command line: {override.input_line}: {key} cannot be removed, only changed")
            if not rest and not isinstance(value, dict):
                chosen = f"{key} is a mapping; hydra/{section}=NAME chooses a {section}"
                raise InputError(f"command line: {chosen}; there is {', '.join(_presets(conf, f'hydra/{section}'))}")
            names = [rest] if rest else [str(name) for name in value]
            for name in names:
                _refuse_unknown_option(section, name, override, settings, conf)
        elif key.startswith("hydra.") and not added:
            known = [f"hydra.{name}" for name in leaf_keys(settings)]
            if not _covers(key, known):
                raise InputError(f"command line: unknown key {key}{did_you_mean(key, known)}")


def did_you_mean(key: str, known: Iterable[str], others: str = KEYS) -> str:
    """The end of an error message: the known key that is nearest to `key`, by its whole or by its last word.

    If none is near, `others` says where all keys are.
    """
    known = [name for name in known if name != key]  # a config group of that name takes other values
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.7)
    if not near:
        by_word = {name.split(".")[-1]: name for name in reversed(known)}
        near = [by_word[word] for word in difflib.get_close_matches(key.split(".")[-1], by_word, n=1, cutoff=0.6)]
    if not near and key.startswith("model.") and not key.startswith(OWN_PARAMETERS):
        near = [f"{OWN_PARAMETERS}.{key.removeprefix('model.')}"]
    return f"; did you mean {near[0]}?" if near else f"; {others}"


def origin(key: str, typed: Iterable[str], conf: Path) -> str:
    """Where `key` has its value from: the command line, the preset that an override names, or params.yaml."""
    parsed = parse(typed)
    if any(_covers(override.key_or_group, [key]) for override in parsed):
        return "command line"
    for override in parsed:
        preset = conf / override.key_or_group / f"{override.value()}.yaml"
        if preset.is_file() and OmegaConf.select(OmegaConf.load(preset), key) is not None:
            return f"conf/{preset.relative_to(conf)}"
    return "params.yaml"


@functools.cache
def _groups(conf: Path) -> list[str]:
    return [str(folder.relative_to(conf)) for folder in conf.rglob("*") if folder.is_dir()]


def _covers(key: str, keys: Iterable[str]) -> bool:
    """Whether `key` is one of `keys` or a mapping that holds one of them."""
    return any(other == key or other.startswith(f"{key}.") for other in keys)


def _float_range(swept: RangeSweep, override: str) -> Iterator[float]:
    """The numbers of a range, in decimal: start + step·i as long as they are before stop."""
    # What Hydra has computed with them before, for sort(), can have errors in the last of 17 digits.
    given = (swept.start, swept.stop, swept.step)
    start, stop, step = (Decimal(one if isinstance(one, int) else f"{one:.{DIGITS}g}") for one in given)
    if not start.is_finite() or not stop.is_finite():
        raise InputError(f"command line: {override}: the ends of a range must be finite numbers")
    if not step or not step.is_finite():
        raise InputError(f"command line: {override}: the step of a range must be a number other than 0")
    if (stop - start) / step > MOST_VALUES:
        raise InputError(f"command line: {override}: more than {MOST_VALUES} values")
    while start < stop if step > 0 else start > stop:
        yield float(start)
        start += step


def _presets(conf: Path, group: str) -> list[str]:
    """The names of the presets in a config group; none if it is no group."""
    return sorted(path.stem for path in (conf / group).glob("*.yaml"))


def _refuse_unknown_preset(override: Override, choices: list[str]) -> None:
    group, chosen = override.key_or_group, override.value()
    if chosen is None or str(chosen) in choices:
        return
    renamed = RENAMED_PRESETS.get(f"{group}={chosen}")
    if renamed:
        raise InputError(f"command line: {group}={chosen} is now called {renamed}")
    raise InputError(f"command line: no preset {group}={chosen}; there is {', '.join(choices)}")


def _refuse_unknown_option(section: str, name: str, override: Override, settings: DictConfig, conf: Path) -> None:
    """Refuse `hydra.<section>.<name>` if the launcher or sweeper that is chosen has no such key."""
    group = conf / "hydra" / section
    keys = {
        choice: [str(key) for key in OmegaConf.load(group / f"{choice}.yaml")]
        for choice in _presets(conf, f"hydra/{section}")
    }
    chosen, (first, _, rest) = settings.runtime.choices[f"hydra/{section}"], name.partition(".")
    if chosen not in keys:  # one of Hydra's own, or of another package
        return
    key, added = f"hydra.{section}.{name}", override.is_add() or override.is_force_add()
    if first in keys[chosen] and first in MAPPINGS:
        if rest and not added and not _covers(name, leaf_keys(settings[section])):
            mapping = f"hydra.{section}.{first}={{{rest}: {override.get_value_string()}}}"
            raise InputError(f"command line: {key} is no key of its own; write '{mapping}'")
        return
    if name in keys[chosen]:
        return
    having = [choice for choice, names in keys.items() if name in names]
    if having:
        there = f"hydra/{section}={', '.join(having)} {'has' if len(having) == 1 else 'have'} it"
        raise InputError(f"command line: hydra/{section}={chosen} has no key {key}; {there}")
    near = ""
    for word in difflib.get_close_matches(name, keys[chosen], n=1):
        near = f"; did you mean hydra.{section}.{word}?"
    for word in [] if near else difflib.get_close_matches(name, sorted({*chain(*keys.values())}), n=1):
        having = [choice for choice, names in keys.items() if word in names]
        near = f"; did you mean hydra.{section}.{word} of hydra/{section}={', '.join(having)}?"
    raise InputError(f"command line: unknown key {key}{near}")


def _quoted(value: object) -> str:
    if isinstance(value, list):
        return f"[{','.join(_quoted(item) for item in value)}]"
    if isinstance(value, str) and (not value.isidentifier() or not value.isascii() or value.lower() in HYDRA_WORDS):
        return "'" + re.sub(r"(\\*)('|$)", _escaped, value) + "'"
    return "null" if value is None else str(value)


def _escaped(match: re.Match[str]) -> str:
    """Double the backslashes before a quote: Hydra reads two as one there, and takes all others as they are."""
    backslashes, quote = match.groups()
    return backslashes * 2 + (f"\\{quote}" if quote else "")
