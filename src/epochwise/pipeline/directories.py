"""Where things lie in a project: DVC's outputs, run directories, the data cache and the state store."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from epochwise.common.errors import InputError, one_line
from epochwise.common.files import find_files
from epochwise.common.paths import find_root, main_root
from epochwise.runs.directory import RECORD, RunDirectory
from epochwise.trajectory.remote_states import Store

PREPARED, MODELS, REPORTS = Path("data/prepared"), Path("models"), Path("reports")  # DVC's outputs, see dvc.yaml
RUN_FOLDERS = ("outputs", "multirun")  # of `epochwise run` and of sweeps, see conf/config.yaml
LINKABLE = (*RUN_FOLDERS, "trajectories", "mlruns", "data", "models")  # may be links to folders on another disk


def pipeline_run() -> RunDirectory:
    """The run of DVC's stages."""
    root = find_root()
    return RunDirectory(root / MODELS, root / REPORTS)


def run_in(folder: Path) -> RunDirectory:
    """The run in a directory. The pipeline's has its evaluation in reports/, which names it as well."""
    pipeline = pipeline_run()
    return (
        pipeline
        if folder.resolve() in (pipeline.path.resolve(), pipeline.evaluation.resolve())
        else RunDirectory(folder)
    )


def run_directories(root: Path) -> Iterator[RunDirectory]:
    """The run directories of `epochwise run` and of sweeps, the latest first."""
    for name in RUN_FOLDERS:
        found = (path.parent for path in find_files(root / name, RECORD))
        yield from map(RunDirectory, sorted((path for path in found if not path.name.startswith(".")), reverse=True))


def folder_inside(top: str, settings: DictConfig, kind: str) -> Path:
    """The folder that `hydra.run.dir` or `hydra.sweep.dir` names; `settings` are Hydra's, `kind` is run or sweep.

    `top`, or a folder in it, may be a link to another disk; the path returned leads through it. Raises InputError
    unless the folder lies in the project's folder `top`, where all commands look for such results.
    """
    around = find_root() / top
    check_links((top,))
    try:
        given = find_root() / settings[kind].dir
    except OmegaConfBaseException as error:
        raise InputError(f"hydra.{kind}.dir: {one_line(error)}") from error
    folder, target = Path(os.path.normpath(given)), given.resolve()
    if not folder.is_relative_to(around) or folder.resolve() != target:  # as it is where `top` links to, or with `..`
        inside = target.is_relative_to(around.resolve())
        folder = around / target.relative_to(around.resolve()) if inside else target
    if not folder.is_relative_to(around) or folder == around:
        raise InputError(f"hydra.{kind}.dir={settings[kind].dir}: must lie in {top}/, where {kind}s are looked for")
    return folder


def check_links(names: Iterable[str] = LINKABLE) -> None:
    """Raise InputError if a folder of the project is a link to something that is not there, or is no folder."""
    for folder in (root / name for name in names for root in {find_root(), main_root()}):
        if folder.is_symlink() and not folder.is_dir():
            raise InputError(f"{folder}: links to {folder.readlink()}, which is no folder; make it, or remove the link")


def cache_folder() -> Path:
    """What is downloaded or prepared once for all copies of the project."""
    return main_root() / "data" / "cache"


def state_store(cfg: DictConfig) -> Store | None:
    """Where the states of trainings are kept for all copies of the project; None if `cfg` wants none."""
    if not (cfg.train.reuse and cfg.trajectories.max_gb):
        return None
    given = cfg.trajectories.store
    if given and "://" in given:
        return str(given)
    return main_root() / (Path(given).expanduser() if given else "trajectories")
