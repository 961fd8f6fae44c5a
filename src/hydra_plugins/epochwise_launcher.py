"""Hydra's launcher for `epochwise run -m`: gives the jobs of a sweep to worker processes.

Hydra looks for launchers in the package hydra_plugins only. It imports this file whenever it composes a configuration.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

if TYPE_CHECKING:
    from epochwise.sweeps.executor import SweepExecutor
    from epochwise.sweeps.record import SweepRecord


class EpochwiseLauncher(Launcher):
    """Runs jobs in worker processes, `n_jobs` at once; -1 stands for as many as the cores allow."""

    def __init__(self, n_jobs: int) -> None:
        self.n_jobs = n_jobs
        self.keeps_workers = False  # from one launch to the next
        self.last: SweepExecutor | None = None  # with the workers that are kept

    @contextmanager
    def keeping_workers(self) -> Iterator[None]:
        """Keep workers between launches, and publish the sweep after the last one; on an exception end the workers."""
        self.keeps_workers = True
        try:
            yield
            if self.last:
                self.last.publish_if_needed()
        finally:
            self.keeps_workers = False
            if self.last:
                self.last.stop_workers()
                self.last = None

    def executor(self, sweep: "SweepRecord", compose: Callable[[int], DictConfig]) -> "SweepExecutor":
        """What runs the jobs."""
        from epochwise.sweeps.executor import SweepExecutor  # in here for its cost

        return SweepExecutor(sweep, self.n_jobs, self.context, compose)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context, self.master_config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        """Run the jobs that are not finished. For Hydra all are completed; sweep.json says which of them failed."""
        from epochwise.sweeps.record import SweepRecord  # in here for its cost

        def compose(number: int) -> DictConfig:
            overrides = list(job_overrides[number - initial_job_idx])
            config = self.context.config_loader.load_sweep_config(self.master_config, overrides)
            with open_dict(config):
                config.hydra.job.id = config.hydra.job.num = number
            return config

        sweep = SweepRecord.read(Path(self.master_config.hydra.sweep.dir))
        executor = self.executor(sweep, compose)
        numbers = range(initial_job_idx, initial_job_idx + len(job_overrides))
        if self.keeps_workers:
            if self.last:
                executor.take_over(self.last)
            self.last = executor
            executor.run(numbers)
        else:
            executor.execute(numbers)
        return [JobReturn(list(overrides), status=JobStatus.COMPLETED) for overrides in job_overrides]


class RayLauncher(EpochwiseLauncher):
    """Runs jobs in slots of a Ray cluster."""

    def __init__(self, **options: object) -> None:
        """`options` are those of conf/hydra/launcher/ray.yaml."""
        super().__init__(n_jobs=-1)
        self.options = options

    def executor(self, sweep: "SweepRecord", compose: Callable[[int], DictConfig]) -> "SweepExecutor":
        from epochwise.sweeps.elsewhere import plain_options  # in here for their cost
        from epochwise.sweeps.ray_cluster import RayCluster, read_resources
        from epochwise.sweeps.ray_executor import RayExecutor

        resources = read_resources(plain_options(OmegaConf.create(self.options)))
        return RayExecutor(sweep, RayCluster(resources), self.context, compose)


class SlurmLauncher(EpochwiseLauncher):
    """Submits jobs to a SLURM cluster as arrays, and follows them until they are done."""

    def __init__(self, **options: object) -> None:
        """`options` are those of conf/hydra/launcher/slurm.yaml."""
        super().__init__(n_jobs=-1)
        self.options = options

    def executor(self, sweep: "SweepRecord", compose: Callable[[int], DictConfig]) -> "SweepExecutor":
        from epochwise.sweeps.elsewhere import plain_options  # in here for their cost
        from epochwise.sweeps.slurm import Slurm
        from epochwise.sweeps.slurm_executor import SlurmExecutor

        slurm = Slurm.of(plain_options(OmegaConf.create(self.options)))
        return SlurmExecutor(sweep, slurm, self.context, compose)
