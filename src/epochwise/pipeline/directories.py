"""Where things lie in a project: DVC's outputs, run directories, the data cache and the state store."""

from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig

from epochwise.common.errors import InputError
from epochwise.common.paths import find_root, main_root
from epochwise.pipeline.model_record import has_record_of_model
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


def find_run(run_id: str) -> RunDirectory | None:
    """The directory of the run with this id, or None.

    The pipeline's run does not count if models/ holds the model of another run.
    """
    pipeline = pipeline_run()
    for run in (pipeline, *run_directories(find_root())):
        try:
            record = run.read_record()
        except InputError:  # a damaged or missing record of another run must not keep this one from being found
            continue
        if run_id in (record.run_id, record.token):
            if run == pipeline and run.model.is_file() and not has_record_of_model(run):
                continue
            return run
    return None


def cache_folder() -> Path:
    """What is downloaded or prepared once for all copies of the project."""
    return main_root() / "data" / "cache"


def state_store(cfg: DictConfig) -> Path | None:
    """Where the states of trainings are kept for all copies of the project; None if `cfg` wants none."""
    return main_root() / "trajectories" if cfg.train.reuse and cfg.trajectories.max_gb else None
