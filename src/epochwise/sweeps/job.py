"""What runs one job of a sweep: in a worker process of ours, or wherever another launcher of Hydra's runs it."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import run_job, setup_globals
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from epochwise.common.directory_locks import lock_directory
from epochwise.common.errors import InputError, RunError
from epochwise.common.paths import find_root, main_root
from epochwise.common.processes import redirected_output
from epochwise.config.compose import load
from epochwise.config.limits import check_values
from epochwise.config.schema import parameters
from epochwise.pipeline.run import run_configuration
from epochwise.runs.directory import RunDirectory
from epochwise.sweeps.directory import ended_runs, failure_file, log_file
from epochwise.sweeps.record import SweepRecord
from epochwise.tracking.server import preload


def run_point(cfg: DictConfig) -> None:
    """Run a point of a sweep, unless its run has ended by now. Hydra calls this for each job.

    Raises whatever the run raises, InputError if the point's data could not be prepared, and RunError if `cfg` is no
    longer the point's configuration.
    """
    hydra = HydraConfig.get()
    directory, typed = Path(hydra.runtime.output_dir), list(hydra.overrides.task)
    OmegaConf.resolve(cfg)
    check_values(cfg)
    _run(SweepRecord.read(Path(hydra.sweep.dir)), hydra.job.num, cfg, directory, typed)


def run_number(folder: str, number: int) -> None:
    """Run a point of the sweep in `folder` by its number: all that a job on another host is given.

    Raises as `run_point` does. What this process and native code in it print is appended to the run directory's log.
    """
    sweep = SweepRecord.read(Path(folder))
    run = sweep.run_directory(sweep.points[number])
    with _logged(log_file(run)):
        typed = sweep.points[number].overrides
        _run(sweep, number, load(typed), run.path, typed)


def _run(sweep: SweepRecord, number: int, cfg: DictConfig, directory: Path, typed: list[str]) -> None:
    point = sweep.points[number]
    failure_file(RunDirectory(directory)).unlink(missing_ok=True)
    if point.refused:
        raise InputError(point.refused)
    if parameters(cfg) != point.parameters:
        raise RunError("the configuration was changed while the sweep ran; start it again")
    with lock_directory(main_root(), directory):  # a worker of a sweep whose parent was killed may still be ending here
        pass
    # Who planned the sweep has looked everywhere. To do that again for each job would read all runs for each run.
    if not cfg.sweep.rerun and point.job in ended_runs(find_root(), replace(sweep, rerun=True), [point]):
        print(f"has ended already: {point.name}")
        return
    run_configuration(cfg, directory, typed, point.name, sweep.id, point.fingerprint)


def run_in_worker(context: HydraContext, cfg: DictConfig, log: Path) -> None:
    """Run one job as Hydra's launchers do. What this process and native code in it print is appended to `log`."""
    with _logged(log):
        setup_globals()
        result = run_job(run_point, cfg, "hydra.sweep.dir", "hydra.sweep.subdir", context)
        _ = result.return_value  # raises what the job raised


@contextmanager
def _logged(log: Path) -> Iterator[None]:
    """Append what is printed to a file, an exception with its traceback."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as stream, redirected_output(stream):
        try:
            yield
        except BaseException:
            traceback.print_exc()
            raise


def warm_up(tracked: bool) -> None:
    """Import what runs need. That takes seconds, in which it is still being found out what is to be run."""
    import epochwise.evaluation.evaluate
    import epochwise.trajectory.resume  # noqa: F401  # both import TensorFlow

    if tracked:
        preload()


def free_memory() -> None:
    """Release what TensorFlow keeps of a training that has ended: about 7 MB for each."""
    if "tensorflow" in sys.modules:
        from epochwise.training.backend import release_graphs

        release_graphs()
