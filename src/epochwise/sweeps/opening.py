"""The sweep that a command line begins, or continues if the same command began one before."""

import hashlib
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from omegaconf import DictConfig

from epochwise.common.errors import InputError
from epochwise.common.paths import find_root
from epochwise.config.compose import load
from epochwise.pipeline.directories import folder_inside, state_store
from epochwise.sweeps.cores import threads_override
from epochwise.sweeps.directory import known_sweeps
from epochwise.sweeps.grid import grid_jobs, make_points, varied_parameters
from epochwise.sweeps.record import Point, SweepRecord
from epochwise.sweeps.samplers import Draws, SampledProposer
from epochwise.sweeps.search import Search, is_sampled, is_search, search_of_grid, search_of_samples
from epochwise.sweeps.space import parameters_of, read_space


@dataclass(frozen=True)
class Opened:
    """A sweep that is not begun yet, and what it was made from."""

    sweep: SweepRecord
    typed: list[str]  # the command line's overrides, and those that follow from them
    cfg: DictConfig  # of the first job
    points: list[Point]  # all of a grid; of a search those that it may run, or examples of them
    search: Search | None


def open_command(typed: Sequence[str], settings: DictConfig) -> Opened:
    """The sweep of a command line, every configuration checked. `settings` are Hydra's own.

    Raises InputError for what cannot be swept or searched, with a line for each job that is wrong.
    """
    if is_sampled(settings):
        return _open_samples(list(typed), settings)
    typed = [*typed, *threads_override(grid_jobs(typed, settings), settings)]
    cfg, points = make_points(grid_jobs(typed, settings))
    search = search_of_grid(settings, points) if is_search(settings) else None
    return Opened(open_sweep(typed, settings, cfg, points, search), typed, cfg, points, search)


def _open_samples(typed: list[str], settings: DictConfig) -> Opened:
    """The sweep of a command line whose settings a sampler draws."""
    space, draws = read_space(typed, settings), Draws.read(settings)
    threads = threads_override([space.fixed], settings)
    typed, space = [*typed, *threads], replace(space, fixed=[*space.fixed, *threads])
    proposer = SampledProposer(space, draws, quiet=True)  # that of the search names what cannot be run
    points = proposer.ask()
    if not points:
        raise InputError(f"none of the {draws.n_trials} settings that were drawn can be run; {proposer.refused[0]}")
    search, cfg = search_of_samples(settings, space, draws, points), load(points[0].overrides)
    opened = open_sweep(typed, settings, cfg, points, search)
    return Opened(replace(opened, varied=parameters_of(space)), typed, cfg, points, search)


def open_sweep(
    typed: Sequence[str], settings: DictConfig, cfg: DictConfig, points: list[Point], search: Search | None = None
) -> SweepRecord:
    """The latest sweep of the same runs, to continue it; else a new one in the folder that Hydra's `settings` name.

    Of a `search`, `points` are all that it may run, or examples of them; it adds those that it runs to the record.
    If the folder was typed, only a sweep in there is continued. Raises InputError if the folder lies outside multirun/
    or holds another sweep.
    """
    typed_folder = any(override.startswith("hydra.sweep.dir=") for override in typed)
    folder, reuse = folder_inside("multirun", settings, "sweep"), state_store(cfg) is not None
    in_folder = [SweepRecord.read(folder)] if SweepRecord.exists(folder) else []
    searched = search.as_record() if search else {}
    if not cfg.sweep.rerun:
        earlier = in_folder if typed_folder else [sweep for sweep in known_sweeps(find_root()) if not sweep.rerun]
        for sweep in earlier:
            same = (sweep.experiment, sweep.reuse, sweep.mixed) == (cfg.tracking.experiment, reuse, cfg.sweep.mixed)
            if same and sweep.search == searched and (searched or _same(sweep.points, points)):
                print(f"continuing sweep {sweep.id}", flush=True)
                return sweep
    if in_folder:
        raise InputError(f"hydra.sweep.dir={settings.sweep.dir}: holds another sweep's results; name another directory")
    return SweepRecord(
        folder=folder,
        id=_sweep_id(folder, typed_folder),
        command=shlex.join(["epochwise", "run", "-m", *typed]),
        experiment=cfg.tracking.experiment,
        varied=varied_parameters(points),
        points=[] if search else points,
        validates_on_test=not all(point.parameters["prepare.validation_size"] for point in points),
        reuse=reuse,
        rerun=cfg.sweep.rerun,
        mixed=cfg.sweep.mixed,
        search=searched,
    )


def _same(one: list[Point], other: list[Point]) -> bool:
    """Whether two sweeps have the same runs. A run whose data could not be prepared is known by its overrides."""
    first, second = ([point.fingerprint or point.overrides for point in points] for points in (one, other))
    return first == second


def _sweep_id(folder: Path, typed: bool) -> str:
    """The last two folders' names; if they were `typed`, with a hash of the whole path.

    No id may be part of another one: MLflow is searched for an id in a text that may hold several.
    """
    name = "_".join(folder.parts[-2:])
    if not typed:
        return name
    return f"{re.sub('[^A-Za-z0-9-]', '_', name)}-{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"
