"""Hydra's way to the workers of `epochwise run -m`; Hydra looks for launchers in this package only."""

from collections.abc import Sequence
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict


class EpochwiseLauncher(Launcher):
    """Runs jobs in worker processes, `n_jobs` at once; -1 stands for as many as the cores allow."""

    def __init__(self, n_jobs: int):
        self.n_jobs = n_jobs

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context, self.config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        """Run the jobs that are missing. Which of them failed is told by the sweep, and Hydra is not stopped by it."""
        from epochwise.sweeps import executor as conductor

        numbers = range(initial_job_idx, initial_job_idx + len(job_overrides))
        configs = dict(zip(numbers, map(self._compose, numbers, job_overrides), strict=True))
        conductor.launch(Path(self.config.hydra.sweep.dir), self.context, configs, self.n_jobs)
        return [JobReturn(list(overrides), status=JobStatus.COMPLETED) for overrides in job_overrides]

    def _compose(self, number: int, overrides: Sequence[str]) -> DictConfig:
        config = self.context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        return config
