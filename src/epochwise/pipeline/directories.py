"""Where things lie in a project: DVC's outputs, run directories, the data cache and the state store."""

from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from epochwise.common.errors import InputError, one_line
from epochwise.common.paths import find_root, main_root
from epochwise.runs.directory import RECORD, RunDirectory

PREPARED, MODELS, REPORTS = Path("data/prepared"), Path("models"), Path("reports")  # DVC's outputs, see dvc.yaml
RUN_FOLDERS = ("outputs", "multirun")  # of `epochwise run` and of sweeps, see conf/config.yaml


def pipeline_run() -> RunDirectory:
    """The run of DVC's stages."""
    root = find_root()
    return RunDirectory(root / MODELS, root / REPORTS)


def run_directories(root: Path) -> Iterator[RunDirectory]:
    """The run directories of `epochwise run` and of sweeps, the latest first."""
    for name in RUN_FOLDERS:
        found = (path.parent for path in (root / name).glob(f"**/{RECORD}"))
        yield from map(RunDirectory, sorted((path for path in found if not path.name.startswith(".")), reverse=True))


def folder_inside(top: str, settings: DictConfig, kind: str) -> Path:
    """The folder that `hydra.run.dir` or `hydra.sweep.dir` names; `settings` are Hydra's, `kind` is run or sweep.

    Raises InputError unless it lies in the project's folder `top`, where all commands look for such results.
    """
    try:
        folder = (find_root() / settings[kind].dir).resolve()
    except OmegaConfBaseException as error:
        raise InputError(f"hydra.{kind}.dir: {one_line(error)}") from error
    around = find_root() / top
    if not folder.is_relative_to(around) or folder == around:
        raise InputError(f"hydra.{kind}.dir={settings[kind].dir}: must lie in {top}/, where {kind}s are looked for")
    return folder


def cache_folder() -> Path:
    """What is downloaded or prepared once for all copies of the project."""
    return main_root() / "data" / "cache"


def state_store(cfg: DictConfig) -> Path | None:
    """Where the states of trainings are kept for all copies of the project; None if `cfg` wants none."""
    return main_root() / "trajectories" if cfg.train.reuse and cfg.trajectories.max_gb else None
