"""Sweeps whose jobs run on other hosts: what those are asked before the sweep begins."""

from collections.abc import Sequence

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


def identify_by_hosts(settings: DictConfig, plain: Sequence[str]) -> None:
    """Let the runs of a sweep be identified by the hosts that its launcher uses, asked when that is needed first.

    `settings` are Hydra's, `plain` the overrides without sweeps. Does nothing for launchers that use this host. Raises
    InputError if the database of the runs is for one host only; to ask raises InputError if hosts cannot be used.
    """
    launcher = settings.launcher
    target = launcher.get("_target_")
    if target not in (RAY, SLURM):
        return
    cfg = load(plain)
    settings_of_launcher = OmegaConf.to_container(launcher, resolve=True)
    assert isinstance(settings_of_launcher, dict)
    options = {str(key): value for key, value in settings_of_launcher.items()}
    del options["_target_"]

    def ask() -> dict[str, dict[str, str]]:
        hosts = _ray_hosts(options) if target == RAY else _slurm_hosts(options)
        if any(host.kernel != kernel() for host in hosts):
            _require_server(cfg)
        return check_hosts(hosts, cfg.sweep.mixed)

    if target == SLURM:
        _require_server(cfg)
    identify_by(ask)


def _require_server(cfg: DictConfig) -> None:
    """Refuse SQLite for runs of several hosts: its log of changes is shared by memory, which is one host's."""
    if cfg.tracking.enabled and database_file(tracking_uri(main_root())):
        raise InputError(
            f"mlflow.db is for the runs of one host: name a tracking server in {VARIABLE} (docs/team.md), or give "
            "tracking=off, and `epochwise publish` logs the runs afterwards"
        )


def _ray_hosts(options: dict[str, object]) -> list[Host]:
    from epochwise.sweeps.ray_cluster import RayCluster  # in here for its cost

    return RayCluster(**options).hosts()  # type: ignore[arg-type]


def _slurm_hosts(options: dict[str, object]) -> list[Host]:
    from epochwise.sweeps.slurm import Slurm  # in here for its cost

    return Slurm.of(options).hosts()
