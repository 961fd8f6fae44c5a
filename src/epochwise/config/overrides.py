"""Overrides on the command line: parsed as Hydra does, expanded into a grid, and refused where they name nothing."""

import difflib
import re
from collections.abc import Iterable
from pathlib import Path

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf

from epochwise.common.errors import InputError

SPECIAL = ("true", "false", "null", "nan", "inf")  # words that Hydra reads as values


def parse(overrides: Iterable[str]) -> list[Override]:
    """Raises InputError for what is not `key=value`."""
    parser, parsed = OverridesParser.create(), []
    for override in overrides:
        try:
            parsed.append(parser.parse_override(override))
        except HydraException as error:
            raise InputError(f"not an override: {override}; write key=value") from error
    return parsed


def grid(overrides: Iterable[str]) -> list[list[str]]:
    """The jobs of a multirun, each its list of overrides, in Hydra's own order. Raises InputError on bad syntax."""
    try:
        return [job for batch in BasicSweeper.split_arguments(parse(overrides), None) for job in batch]
    except HydraException as error:
        raise InputError(f"command line: not a grid of values: {' '.join(str(error).split())}") from error


def text(key: str, value: object) -> str:
    """`value` as the override that gives it to `key`."""
    return f"{key}={_quoted(value)}"


def refuse_unknown(overrides: Iterable[str], known: list[str], conf: Path) -> None:
    """Raise InputError for an override whose key is neither `known` nor a group of `conf`, or of an unknown preset."""
    groups = [str(folder.relative_to(conf)) for folder in conf.rglob("*") if folder.is_dir()]
    for override in parse(overrides):
        key = override.key_or_group
        if override.is_sweep_override():
            raise InputError(f"command line: {override.input_line} is a sweep; use `epochwise run -m`")
        if key in groups and not key.startswith("hydra"):
            _refuse_unknown_preset(override, sorted(path.stem for path in (conf / key).glob("*.yaml")))
        elif key not in known and not key.startswith(("hydra.", "hydra/")) and not _is_parent(key, known):
            raise InputError(f"command line: unknown key {key}{nearest(key, [*known, *groups])}")


def nearest(key: str, known: list[str]) -> str:
    """The end of a message: the known key that was probably meant, by its whole or by its last word."""
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.7)
    if not near:
        words = {name.split(".")[-1]: name for name in reversed(known)}
        near = [words[word] for word in difflib.get_close_matches(key.split(".")[-1], words, n=1, cutoff=0.6)]
    return f"; did you mean {near[0]}?" if near else ""


def place(key: str, overrides: Iterable[str], conf: Path) -> str:
    """Which override or preset of `overrides` gave `key` its value; else the file of the parameters."""
    parsed = parse(overrides)
    if any(_is_parent(override.key_or_group, [key]) for override in parsed):
        return "command line"
    for override in parsed:
        preset = conf / override.key_or_group / f"{override.value()}.yaml"
        if preset.is_file() and OmegaConf.select(OmegaConf.load(preset), key) is not None:
            return f"conf/{preset.relative_to(conf)}"
    return "params.yaml"


def _is_parent(key: str, keys: list[str]) -> bool:
    return any(other == key or other.startswith(f"{key}.") for other in keys)


def _refuse_unknown_preset(override: Override, choices: list[str]) -> None:
    chosen = override.value()
    if chosen is not None and str(chosen) not in choices:
        raise InputError(f"command line: no preset {override.key_or_group}={chosen}; there is {', '.join(choices)}")


def _escaped(end: re.Match) -> str:
    """Hydra reads backslashes as such but before a quote, where it reads two as one."""
    backslashes, quote = end.groups()
    return backslashes * 2 + (f"\\{quote}" if quote else "")


def _quoted(value: object) -> str:
    if isinstance(value, list):
        return f"[{','.join(_quoted(item) for item in value)}]"
    if isinstance(value, str) and (not value.isidentifier() or not value.isascii() or value.lower() in SPECIAL):
        return "'" + re.sub(r"(\\*)('|$)", _escaped, value) + "'"
    return str(value)
