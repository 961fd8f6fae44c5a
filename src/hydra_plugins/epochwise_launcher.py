"""Hydra's launcher for `epochwise run -m`: gives the jobs of a sweep to worker processes.

Hydra looks for launchers in the package hydra_plugins only. It imports this file whenever it composes a configuration.
"""

from collections.abc import Sequence
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict


class EpochwiseLauncher(Launcher):
    """Runs jobs in worker processes, `n_jobs` at once; -1 stands for as many as the cores allow."""

    def __init__(self, n_jobs: int) -> None:
        self.n_jobs = n_jobs

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context, self.master_config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        """Run the jobs that are not finished. For Hydra all are completed; sweep.json says which of them failed."""
        from epochwise.sweeps.executor import SweepExecutor  # in here for its cost
        from epochwise.sweeps.record import SweepRecord

        def compose(number: int) -> DictConfig:
            overrides = list(job_overrides[number - initial_job_idx])
            config = self.context.config_loader.load_sweep_config(self.master_config, overrides)
            with open_dict(config):
                config.hydra.job.id = config.hydra.job.num = number
            return config

        sweep = SweepRecord.read(Path(self.master_config.hydra.sweep.dir))
        executor = SweepExecutor(sweep, self.n_jobs, self.context, compose)
        executor.execute(range(initial_job_idx, initial_job_idx + len(job_overrides)))
        return [JobReturn(list(overrides), status=JobStatus.COMPLETED) for overrides in job_overrides]
