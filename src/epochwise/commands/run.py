"""`epochwise run`: Hydra's command line for one run or, with -m or +sweep=…, for every point of a grid."""

import os
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from epochwise.commands.dry_run import print_dry_run
from epochwise.commands.run_help import run_help
from epochwise.common.directory_locks import lock_directory
from epochwise.common.errors import InputError, RunError, one_line
from epochwise.common.paths import find_root, main_root
from epochwise.config import overrides
from epochwise.config.compose import hydra_settings, load, register
from epochwise.config.limits import check_values
from epochwise.pipeline.datasets import check_data
from epochwise.pipeline.directories import check_links, folder_inside
from epochwise.pipeline.recorded_run import run_name
from epochwise.pipeline.run import run_configuration
from epochwise.runs.directory import RunDirectory
from epochwise.runs.lineage import code_problem
from epochwise.sweeps import leaderboard_files
from epochwise.sweeps.elsewhere import LAUNCHERS, identify_by_hosts
from epochwise.sweeps.job import run_point
from epochwise.sweeps.leaderboard import Leaderboard, make_leaderboard
from epochwise.sweeps.opening import open_command
from epochwise.sweeps.publication import NOT_PUBLISHED, connect_and_publish
from epochwise.sweeps.record import SweepRecord
from epochwise.sweeps.table import print_leaderboard
from epochwise.tracking.address import check_address, server_name
from epochwise.tracking.redacted_errors import warn

DRY_RUN = "--dry-run"


def run(arguments: list[str]) -> None:
    """Run Hydra's command line `arguments`: key=value …, -m, +sweep=…, --cfg job …

    Every configuration is checked before the first one runs. Raises InputError with all that is wrong, and RunError
    at the end if runs failed; a failed run of a sweep does not stop the others.
    """
    parsed = _parse(arguments)
    # Hydra's parser, which reads them again, takes overrides in one piece only.
    options = [argument for argument in arguments if argument not in (*parsed.overrides, DRY_RUN)]
    arguments = [*options, *parsed.overrides]
    typed = overrides.parse(parsed.overrides)
    plain = [str(override.input_line) for override in typed if not override.is_sweep_override()]
    if parsed.help:
        print(run_help())
        return
    if parsed.hydra_help or parsed.info or parsed.shell_completion:
        register()
        swept = {"-m", "--multirun", *parsed.overrides} - set(plain)
        _call_hydra(run_point, [argument for argument in arguments if argument not in swept])
        return
    settings = hydra_settings(plain)
    check_links()
    multirun = parsed.multirun or (settings.mode == RunMode.MULTIRUN and not parsed.cfg)
    if parsed.dry_run and not multirun:
        load(parsed.overrides)  # refuses a grid
        # As a grid of one run, which would be run also if there is one like it.
        alone = [override for override in plain if not override.startswith(("hydra/sweeper", "hydra.sweeper"))]
        print_dry_run([*alone, "sweep.rerun=true"], hydra_settings(alone))
    elif multirun:
        identify_by_hosts(settings, plain)
        (print_dry_run if parsed.dry_run else _run_sweep)(parsed.overrides, settings)
    else:
        _run_one(arguments, parsed.overrides, settings)


def _run_one(arguments: list[str], typed: list[str], settings: DictConfig) -> None:
    cfg = load(typed)
    if cfg.tracking.enabled:
        check_address()
    check_data(cfg)
    folder = folder_inside("outputs", settings, "run")
    others = folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir())  # not what a kill left
    if others and not RunDirectory(folder).record.is_file():
        raise InputError(f"hydra.run.dir={settings.run.dir}: holds other files than a run's; name another directory")
    failures: list[Exception] = []

    def run_configuration_of(cfg: DictConfig) -> None:
        try:
            _run_configuration(cfg)
        except (InputError, RunError, OSError) as error:  # kept from Hydra, which would print a traceback
            failures.append(error)

    _call_hydra(run_configuration_of, arguments)
    if failures:
        raise failures[0]


def _run_configuration(cfg: DictConfig) -> None:
    """The run of a command line that is no sweep. It is named by the preset and what its overrides vary."""
    hydra = HydraConfig.get()
    OmegaConf.resolve(cfg)
    check_values(cfg)
    typed = list(hydra.overrides.task)
    name = " ".join(filter(None, (hydra.runtime.choices["experiment"], run_name(typed))))
    run_configuration(cfg, Path(hydra.runtime.output_dir), typed, name)


def _run_sweep(typed: list[str], settings: DictConfig) -> None:
    opened = open_command(typed, settings)
    sweep, cfg = opened.sweep, opened.cfg
    problem = code_problem(find_root())  # each run says so in its log
    if problem:
        print(f"note: {problem}", flush=True)
    folder, ours = sweep.folder, settings.launcher.get("_target_", "").startswith(LAUNCHERS)
    with lock_directory(main_root(), folder):  # the same command, given twice at once, would write the same runs
        if SweepRecord.exists(folder):
            sweep = SweepRecord.read(folder)  # as the process that last worked in it has left it
        sweep.write()
        try:
            conf = find_root() / "conf"
            listed = opened.typed if opened.search else [overrides.written_out(typed, conf) for typed in opened.typed]
            _call_hydra(run_point, ["--multirun", *listed, overrides.as_override("hydra.sweep.dir", str(folder))])
        except (InputError, RunError, OSError):
            raise
        except Exception as error:
            if ours:
                raise
            raise RunError(f"{settings.launcher._target_}: {type(error).__name__}: {one_line(error)}") from error
        finally:
            sweep = SweepRecord.read(folder)
            if not ours and cfg.tracking.enabled:
                sweep = _publish(sweep)
            leaderboard = make_leaderboard(find_root(), sweep)
            leaderboard_files.write(leaderboard)
            leaderboard_files.write_of_finished_searches(leaderboard)
            print_leaderboard(leaderboard)
    _require_published(cfg, sweep)
    _require_finished(leaderboard)


def _publish(sweep: SweepRecord) -> SweepRecord:
    """Publish a sweep of another launcher of Hydra's; ours does that in one of its workers."""
    try:
        sweep = connect_and_publish(sweep)
    except RunError as error:
        warn(error, NOT_PUBLISHED)
        sweep = sweep.unpublished()
    return sweep.write()


def _require_published(cfg: DictConfig, sweep: SweepRecord) -> None:
    if cfg.tracking.enabled and cfg.tracking.required and sweep.published != server_name(main_root()):
        raise RunError("MLflow does not have all of the sweep, which tracking.required asks for")


def _require_finished(leaderboard: Leaderboard) -> None:
    failed, missing = len(leaderboard.failures), len(leaderboard.missing)
    if failed or missing:
        not_run = f", {missing} were not run" if missing else ""
        raise RunError(f"{failed} of {len(leaderboard.sweep.points)} runs failed{not_run}, see above")


def _call_hydra(task: Callable[[DictConfig], None], arguments: list[str]) -> None:
    """Let Hydra compose the configuration from `arguments`, and call `task` with it, or run a sweep of it."""
    import hydra

    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come to us, not to Hydra's printer of tracebacks
    sys.argv = ["epochwise run", *arguments]
    try:
        hydra.main(version_base="1.3", config_path=str(find_root() / "conf"), config_name="config")(task)()
    except HydraException as error:
        raise InputError(one_line(error)) from error


def _parse(arguments: list[str]) -> Namespace:
    from hydra._internal.utils import get_args_parser

    def refuse(message: str) -> NoReturn:
        hint = "; a parameter is typed key=value, such as train.epochs=3; `epochwise run --help` lists them"
        raise InputError(message + (hint if message.startswith("unrecognized") else ""))

    parser = get_args_parser()
    parser.add_argument(DRY_RUN, action="store_true")
    parser.error = refuse  # type: ignore[method-assign]
    parsed = parser.parse_intermixed_args(arguments)
    if parsed.config_name or parsed.config_path or parsed.config_dir:
        raise InputError("the configuration is conf/config.yaml; use experiment=NAME for a preset in conf/experiment")
    if parsed.dry_run and parsed.cfg:
        raise InputError("--cfg prints a configuration and --dry-run what would be run; leave out one of them")
    if parsed.multirun and parsed.cfg:
        raise InputError("--cfg shows one configuration; leave out -m")
    if parsed.multirun and not parsed.overrides and not parsed.help:
        raise InputError("-m needs a grid: a key with several values, such as train.epochs=2,4")
    return parsed
