"""`epochwise run … --dry-run`: what would be run, what of it is there, and what it would cost."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from epochwise.common.paths import find_root
from epochwise.common.terminal import Terminal
from epochwise.pipeline.directories import state_store
from epochwise.sweeps.dry_run import plan_grid, plan_search
from epochwise.sweeps.dry_run_text import text
from epochwise.sweeps.elsewhere import RAY, SLURM
from epochwise.sweeps.opening import open_command
from epochwise.sweeps.pace import paces
from epochwise.sweeps.search import proposer_of


def print_dry_run(typed: Sequence[str], settings: DictConfig) -> None:
    """Print the jobs of a command line. The data is prepared, for it decides which runs these are; nothing is trained.

    Raises InputError as the command itself would.
    """
    opened = open_command(typed, settings)
    root, store = find_root(), state_store(opened.cfg)
    if opened.search:
        proposer = proposer_of(opened.typed, settings)
        plan = plan_search(root, opened.sweep, opened.search, proposer, store)
    else:
        plan = plan_grid(root, opened.sweep, opened.points, store)
    found = paces(root, store, [planned.point for planned in plan.jobs])
    launcher = settings.launcher
    n_jobs = None if launcher.get("_target_") in (RAY, SLURM) else launcher.get("n_jobs", 1)
    for line in text(plan, found, root, n_jobs, opened.cfg.trajectories.max_gb if isinstance(store, Path) else 0):
        Terminal().print(line, markup=False)
