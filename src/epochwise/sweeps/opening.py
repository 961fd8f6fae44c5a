"""The sweep that a command line begins, or continues if the same command began one before."""

import hashlib
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from epochwise.common.errors import InputError
from epochwise.common.paths import find_root
from epochwise.pipeline.directories import folder_inside, state_store
from epochwise.sweeps.directory import known_sweeps
from epochwise.sweeps.grid import varied_parameters
from epochwise.sweeps.record import Point, SweepRecord


def open_sweep(typed: Sequence[str], settings: DictConfig, cfg: DictConfig, points: list[Point]) -> SweepRecord:
    """The latest sweep of the same runs, to continue it; else a new one in the folder that Hydra's `settings` name.

    If the folder was typed, only a sweep in there is continued. Raises InputError if the folder lies outside multirun/
    or holds another sweep.
    """
    typed_folder = any(override.startswith("hydra.sweep.dir=") for override in typed)
    folder, reuse = folder_inside("multirun", settings, "sweep"), state_store(cfg) is not None
    in_folder = [SweepRecord.read(folder)] if SweepRecord.exists(folder) else []
    if not cfg.sweep.rerun:
        earlier = in_folder if typed_folder else [sweep for sweep in known_sweeps(find_root()) if not sweep.rerun]
        for sweep in earlier:
            if (sweep.experiment, sweep.reuse) == (cfg.tracking.experiment, reuse) and _same(sweep.points, points):
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
        points=points,
        validates_on_test=not all(point.parameters["prepare.validation_size"] for point in points),
        reuse=reuse,
        rerun=cfg.sweep.rerun,
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
