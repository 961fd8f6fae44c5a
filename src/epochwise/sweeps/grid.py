"""A command line's grid of values: its jobs, checked, and the points of the sweep that they are."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig

from epochwise.common.errors import InputError
from epochwise.common.paths import find_root
from epochwise.config import overrides
from epochwise.config.compose import load_jobs
from epochwise.config.schema import parameters, run_setting_keys
from epochwise.pipeline.datasets import check_data, describe_changes, prepared_for
from epochwise.pipeline.own_networks import check_builds
from epochwise.pipeline.recorded_run import run_name
from epochwise.sweeps.halving import RUNG_KEY
from epochwise.sweeps.record import Point
from epochwise.tracking.address import check_address
from epochwise.trajectory.identity import fingerprint

SEED_KEY = "seed"


def grid_jobs(typed: Sequence[str], settings: DictConfig) -> list[list[str]]:
    """The overrides of each job, in Hydra's order. Raises InputError for what cannot be swept."""
    conf = find_root() / "conf"
    swept = swept_overrides(typed, settings)
    _refuse_intervals(swept)
    task = [overrides.written_out(override, conf) for override in swept]
    jobs = overrides.grid(task)
    if jobs != overrides.grid(task):
        raise InputError("command line: shuffle() gives other jobs each time, so none could be found again")
    return jobs


def _refuse_intervals(swept: Sequence[str]) -> None:
    """Raise InputError for a range that only a sampler draws from, or that not even a sampler does."""
    for override in overrides.parse(swept):
        key = override.key_or_group
        if override.is_interval_sweep():
            values = f"{key} needs values, such as {key}=1,3,9"
            drawn = "values are drawn from an interval with hydra/sweeper=random or tpe; all other sweeps need a list"
            right = values if key in (RUNG_KEY, SEED_KEY) else drawn
            raise InputError(f"command line: {override.input_line}: {right}")


def swept_overrides(typed: Sequence[str], settings: DictConfig) -> list[str]:
    """The overrides that make the jobs, each with one value or several. Raises InputError for what cannot be swept.

    `settings` are Hydra's own, see `config.compose.hydra_settings`; a preset of `conf/sweep/` adds to the grid there.
    """
    preset = [f"{key}={values}" for key, values in (settings.sweeper.get("params") or {}).items()]
    changes_no_result, conf = run_setting_keys(), find_root() / "conf"
    task = []
    for override in overrides.parse([*preset, *typed]):
        key = override.key_or_group
        of_hydra = key.startswith(("hydra.", "hydra/"))
        if override.is_sweep_override():
            if of_hydra:
                raise InputError(f"command line: {key} cannot be swept, for it has one value for the whole sweep")
            if key in changes_no_result:
                raise InputError(f"command line: {key} cannot be swept, for it changes no result")
            if key != "experiment" and (conf / key).is_dir():
                raise InputError(f"command line: {key} cannot be swept; of the folders in conf/ only experiment can")
        if key == "hydra.sweep.subdir":
            raise InputError("command line: hydra.sweep.subdir is the job's number; name another hydra.sweep.dir")
        if not of_hydra:
            task.append(str(override.input_line))
    return task


def make_points(jobs: Sequence[Sequence[str]]) -> tuple[DictConfig, list[Point]]:
    """The configuration of the first job, and the points of the sweep, each with its data prepared.

    A point whose data cannot be prepared is `refused`: its run fails, and the others are run. Raises InputError with a
    line for each job whose configuration is wrong or does not fit its data, or if the tracking address is none.
    """
    configs = load_jobs(jobs)
    if configs[0].tracking.enabled:
        check_address()
    values = [parameters(cfg) for cfg in configs]
    _check_data(jobs, configs, values)
    names, points = point_names(jobs), []
    data: dict[str, tuple[str | None, str]] = {}
    for number, (typed, cfg) in enumerate(zip(jobs, configs, strict=True)):
        key = _select(values[number], "prepare.")
        if key not in data:
            data[key] = _prepare(cfg)
        sha256, refused = data[key]
        identified = fingerprint(values[number], sha256, cfg.sweep.mixed) if sha256 else None
        points.append(Point(number, names[number], list(typed), values[number], identified, sha256, refused))
    return configs[0], points


def point_names(jobs: Sequence[Sequence[str]]) -> list[str]:
    """What sets each job apart from the others, by the last word of each key: `epochs=12 dense_dropout=0.5`.

    The only job of a sweep is named by the parameters that were typed.
    """
    common = set.intersection(*map(set, jobs))
    names = []
    for typed in jobs:
        varied = [override.lstrip("+").partition("=") for override in typed if override not in common]
        name = " ".join(f"{key.split('.')[-1]}={value}" for key, _, value in varied)
        names.append(name or run_name(list(typed)) or "run")
    return names


def varied_parameters(points: Sequence[Point]) -> list[str]:
    """The parameters that differ between points, in the order in which they were typed, then in that of params.yaml.

    Of an own network's, only those that all points have.
    """
    found = differing([point.parameters for point in points])
    typed = [override.key_or_group for override in overrides.parse(points[0].overrides)]
    return [key for key in dict.fromkeys((*typed, *found)) if key in found]


def differing(values: Sequence[Mapping[str, Any]]) -> list[str]:
    """The parameters that all have, and that are not the same in all, in the order of the first."""
    common = set.intersection(*map(set, values))
    return [key for key in values[0] if key in common and len({json.dumps(own[key]) for own in values}) > 1]


def _check_data(jobs: Sequence[Sequence[str]], configs: Sequence[DictConfig], values: Sequence[dict[str, Any]]) -> None:
    """Check each job's configuration against its data, once for all jobs that have the same data and network.

    Own networks are built once all else is right.
    """
    problems: dict[str, str] = {}
    found = []
    for cfg, given in zip(configs, values, strict=True):
        key = _select(given, ("prepare.", "model."))
        if key not in problems:
            problems[key] = _data_problem(cfg)
        found.append(problems[key])
    _refuse(jobs, found)
    _refuse(jobs, check_builds(configs))


def _refuse(jobs: Sequence[Sequence[str]], problems: Sequence[str]) -> None:
    """Raise InputError with a line for each job that has a problem."""
    pairs = [(typed, problem) for typed, problem in zip(jobs, problems, strict=True) if problem]
    if pairs:
        lines = [f"{' '.join(typed)}: {problem}" if len(jobs) > 1 else problem for typed, problem in pairs]
        raise InputError("\n".join(lines))


def _data_problem(cfg: DictConfig) -> str:
    """Why the configuration does not fit its data; nothing if it does."""
    try:
        check_data(cfg)
    except InputError as error:
        return str(error)
    return ""


def _prepare(cfg: DictConfig) -> tuple[str | None, str]:
    """The sha256 of the prepared data, and why it could not be prepared: one of them is empty.

    Prints what was changed in the data: the jobs' own output goes to their logs.
    """
    try:
        data = prepared_for(cfg)
        for line in describe_changes(data):
            print(line, flush=True)
        return data.sha256, ""
    except (InputError, OSError) as error:
        return None, str(error)


def _select(values: dict[str, Any], prefix: str | tuple[str, ...]) -> str:
    """The parameters whose keys start with `prefix`, as one text that can be compared."""
    return json.dumps({key: value for key, value in values.items() if key.startswith(prefix)})
