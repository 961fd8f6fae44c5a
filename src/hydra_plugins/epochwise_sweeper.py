"""Hydra's sweepers for `epochwise run -m`. Hydra looks for sweepers in the package hydra_plugins only.

Hydra imports this file whenever it composes a configuration.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.utils import JobStatus
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from hydra_plugins.epochwise_launcher import EpochwiseLauncher

if TYPE_CHECKING:
    from epochwise.sweeps.record import Point


class GridSweeper(BasicSweeper):
    """Hydra's own sweeper over a grid, without composing each job: `epochwise run` has checked them all.

    To compose takes about 0.1 s, and Hydra would do that for the whole grid before the first job runs.
    """

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        pass

    def _parse_config(self) -> list[str]:
        """The grid of a preset, its ranges and globs written out as `epochwise run` has done with what was typed."""
        from epochwise.common.paths import find_root  # in here for their cost
        from epochwise.config.overrides import written_out

        return [written_out(override, find_root() / "conf") for override in super()._parse_config()]


class SearchSweeper(Sweeper):
    """A search by successive halving: one `launch` of Hydra's launcher for each rung.

    `epochwise run` has checked the settings and written them to sweep.json.
    """

    config: DictConfig  # set by `setup`, which Hydra calls first
    launcher: Launcher

    def __init__(self, **settings: object) -> None:
        """`settings` are those of the files in conf/hydra/sweeper/."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from hydra.core.plugins import Plugins

        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Run the search. What failed is in sweep.json or in the runs' directories, from which the search goes on."""
        from epochwise.common.paths import find_root  # in here for its cost
        from epochwise.sweeps.search import proposer_of, run_search

        settings = self.config.hydra
        with self.launcher.keeping_workers() if isinstance(self.launcher, EpochwiseLauncher) else nullcontext():
            run_search(find_root(), Path(settings.sweep.dir), proposer_of(arguments, settings), self._launch)

    def _launch(self, points: "list[Point]") -> None:
        jobs = [point.overrides for point in points]
        for point, result in zip(points, self.launcher.launch(jobs, initial_job_idx=points[0].job), strict=True):
            if result.status == JobStatus.FAILED:  # of another launcher than ours, which would say so itself
                print(f"failed: {point.name}: {' '.join(str(result._return_value).split())}", flush=True)
