"""Sweeps whose jobs run on other hosts: what those are asked before the sweep begins."""

from collections.abc import Callable, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from epochwise.common.errors import InputError
from epochwise.common.hosts import kernel
from epochwise.common.paths import main_root
from epochwise.config.compose import load
from epochwise.sweeps.host import Host, check_hosts
from epochwise.tracking.address import VARIABLE, database_file, tracking_uri
from epochwise.trajectory.identity import identify_by

LAUNCHERS = "hydra_plugins.epochwise_launcher."
RAY, SLURM = f"{LAUNCHERS}RayLauncher", f"{LAUNCHERS}SlurmLauncher"


def is_cluster(settings: DictConfig) -> bool:
    """Whether Hydra's `settings` choose a launcher that uses a cluster, which decides how many jobs run at once."""
    return settings.launcher.get("_target_") in (RAY, SLURM)


def identify_by_hosts(settings: DictConfig, plain: Sequence[str]) -> None:
    """Let the runs of a sweep be identified by the hosts that its launcher uses, asked when that is needed first.

    `settings` are Hydra's, `plain` the overrides without sweeps. Does nothing for launchers that use this host. Raises
    InputError if the database of the runs is for one host only, or if an option of the launcher is wrong; to ask raises
    InputError if hosts cannot be used.
    """
    if not is_cluster(settings):
        return
    cfg, target, options = load(plain), settings.launcher._target_, plain_options(settings.launcher)
    hosts_of = _ray_hosts(options) if target == RAY else _slurm_hosts(options)

    def ask() -> dict[str, dict[str, str]]:
        hosts = hosts_of()
        if any(host.kernel != kernel() for host in hosts):
            _require_server(cfg)
        return check_hosts(hosts, cfg.sweep.mixed)

    if target == SLURM:
        _require_server(cfg)
    identify_by(ask)


def plain_options(launcher: DictConfig) -> dict[str, Any]:
    """The settings of a launcher without its class."""
    options = OmegaConf.to_container(launcher, resolve=True)
    assert isinstance(options, dict)
    return {str(key): value for key, value in options.items() if key != "_target_"}


def server_problem(tracked: bool) -> str:
    """Why runs of several hosts cannot be logged, if so: SQLite shares its log of changes by one host's memory."""
    if not tracked or not database_file(tracking_uri(main_root())):
        return ""
    return (
        f"mlflow.db is for the runs of one host: name a tracking server in {VARIABLE} (docs/team.md), or give "
        "tracking=off, and `epochwise publish` logs the runs afterwards"
    )


def _require_server(cfg: DictConfig) -> None:
    problem = server_problem(cfg.tracking.enabled)
    if problem:
        raise InputError(problem)


def _ray_hosts(options: dict[str, Any]) -> Callable[[], list[Host]]:
    """What asks the nodes. Raises InputError for wrong options."""
    from epochwise.sweeps.ray_cluster import RayCluster, read_resources  # in here for its cost

    resources = read_resources(options)
    return lambda: RayCluster(resources).hosts()


def _slurm_hosts(options: dict[str, Any]) -> Callable[[], list[Host]]:
    """What asks a node. Raises InputError for wrong options, or if SLURM_CONF names no file."""
    from epochwise.sweeps.slurm import Slurm, check_configuration  # in here for its cost

    slurm = Slurm.of(options)
    check_configuration()
    return slurm.hosts
