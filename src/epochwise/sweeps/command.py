"""`epochwise run`: one configuration, or with -m (or +sweep=…) every point of a grid, through Hydra."""

import hashlib
import json
import os
import re
import shlex
import sys
from argparse import Namespace
from pathlib import Path

from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from epochwise.common import locks
from epochwise.common.errors import InputError, RunError
from epochwise.common.paths import find_root, main_root
from epochwise.config import compose as config
from epochwise.config import overrides
from epochwise.pipeline.stages import check_data, prepared_for, run_all, run_name, store
from epochwise.sweeps import record as sweepdir
from epochwise.sweeps.record import Point, Sweep
from epochwise.tracking import server as tracking
from epochwise.trajectory.identity import fingerprint

LAUNCHER = "hydra_plugins.epochwise_launcher.EpochwiseLauncher"


def run(arguments: list[str]) -> None:
    """Run Hydra's command line `arguments` (key=value …, -m, +sweep=…, --cfg job …).

    Every configuration is checked before the first one runs. Raises InputError with all that is wrong, and RunError
    at the end if runs failed; a failed run of a sweep does not stop the others.
    """
    parsed = _parse(arguments)
    typed = overrides.parse(parsed.overrides)
    plain = [override.input_line for override in typed if not override.is_sweep_override()]
    if parsed.help or parsed.hydra_help or parsed.info or parsed.shell_completion:
        config.register()
        left_out = {"-m", "--multirun", *parsed.overrides} - set(plain)
        _hydra(job, [argument for argument in arguments if argument not in left_out])
        return
    settings = config.hydra_settings(plain)
    if parsed.multirun or (settings.mode == RunMode.MULTIRUN and not parsed.cfg):
        _run_sweep(parsed.overrides, settings)
    else:
        _run_one(arguments, parsed.overrides)


def job(cfg: DictConfig) -> None:
    """What Hydra runs: one run, or one point of a sweep unless that is finished by now."""
    from hydra.core.hydra_config import HydraConfig

    this = HydraConfig.get()
    folder, typed = Path(this.runtime.output_dir), list(this.overrides.task)
    OmegaConf.resolve(cfg)
    config.check(cfg)
    if this.mode != RunMode.MULTIRUN:
        parts = (this.runtime.choices.experiment, run_name(typed))
        run_all(cfg, folder, typed, " ".join(filter(None, parts)))
        return
    sweep = sweepdir.read(Path(this.sweep.dir))
    point = sweep.points[this.job.num]
    if point.refused:
        raise InputError(point.refused)
    with locks.at_work(main_root(), folder):  # of a sweep whose parent was killed, a worker may still be ending
        pass
    if not cfg.sweep.rerun and point.job in sweepdir.finished(find_root(), sweep):
        print(f"have it: {point.name}")
        return
    run_all(cfg, folder, typed, point.name, sweep.id, point.fingerprint)


def _run_one(arguments: list[str], typed: list[str]) -> None:
    check_data(config.load(typed))
    failures: list[Exception] = []

    def one(cfg: DictConfig) -> None:
        try:
            job(cfg)
        except (InputError, RunError, OSError) as error:  # told in one line, where Hydra prints a traceback
            failures.append(error)

    _hydra(one, arguments)
    if failures:
        raise failures[0]


def _run_sweep(typed: list[str], settings: DictConfig) -> None:
    from epochwise.sweeps import leaderboard

    typed = [*typed, *_share_of_cores(_grid(typed, settings), settings)]
    cfg, points = _points(_grid(typed, settings))
    sweep = _open(typed, settings, cfg, points)
    with locks.at_work(main_root(), sweep.folder):  # the same command twice at once would write the same runs
        if (sweep.folder / sweepdir.RECORD).is_file():
            sweep = sweepdir.read(sweep.folder)  # as whoever was at work has left it
        sweep.write()
        try:
            _hydra(job, ["--multirun", *typed, overrides.text("hydra.sweep.dir", str(sweep.folder))])
        finally:
            if settings.launcher.get("_target_") != LAUNCHER and cfg.tracking.enabled:
                _publish(sweep.folder)
            board = leaderboard.make(find_root(), sweepdir.read(sweep.folder))
            leaderboard.write(board)
            leaderboard.show(board)
    _require(cfg, board)
    if board.failures or board.missing:
        not_run = f", {len(board.missing)} were not run" if board.missing else ""
        raise RunError(f"{len(board.failures)} of {len(points)} runs failed{not_run}, see above")


def _require(cfg: DictConfig, board) -> None:
    told = board.sweep.published == tracking.server_name(main_root())
    if cfg.tracking.enabled and cfg.tracking.required and not told:
        raise RunError("MLflow does not have all of the sweep, which tracking.required asks for")


def _publish(folder: Path) -> None:
    """What our own launcher leaves to its workers, for another one of Hydra's: MLflow is imported here."""
    from epochwise.sweeps import leaderboard
    from epochwise.sweeps.executor import UNTOLD, publish_board

    sweep = sweepdir.read(folder)
    board = leaderboard.make(find_root(), sweep)
    leaderboard.write(board)
    try:
        sweep.link = publish_board(board)
    except Exception as error:  # see tracking.Server
        tracking.warn(error, UNTOLD)
        return
    sweep.published, sweep.told = tracking.server_name(main_root()), leaderboard.digest(board)
    sweep.write()


def _hydra(task, arguments: list[str]) -> None:
    import hydra

    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come to us, not to Hydra's printer of tracebacks
    sys.argv = ["epochwise run", *arguments]
    try:
        hydra.main(version_base="1.3", config_path=str(find_root() / "conf"), config_name="config")(task)()
    except HydraException as error:
        raise InputError(" ".join(str(error).split())) from error


def _parse(arguments: list[str]) -> Namespace:
    from hydra._internal.utils import get_args_parser

    def refuse(message: str) -> None:
        raise InputError(message)

    parser = get_args_parser()
    parser.error = refuse
    parsed = parser.parse_args(arguments)
    if parsed.config_name or parsed.config_path or parsed.config_dir:
        raise InputError("the configuration is conf/config.yaml; use experiment=NAME for a preset in conf/experiment")
    if parsed.multirun and parsed.cfg:
        raise InputError("--cfg shows one configuration; leave out -m")
    return parsed


def _share_of_cores(jobs: list[list[str]], settings: DictConfig) -> list[str]:
    """train.threads for jobs that run side by side, unless it was told: the cores divided, or one if all are to fit."""
    n_jobs = settings.launcher.get("n_jobs", 1)
    if not isinstance(n_jobs, int) or not (n_jobs == -1 or n_jobs >= 1):
        raise InputError(f"hydra.launcher.n_jobs must be 1 or more, or -1 for as many as fit, got {n_jobs!r}")
    places = {overrides.place("train.threads", job, find_root() / "conf") for job in jobs}
    if n_jobs == 1 or places != {"params.yaml"}:
        return []
    from epochwise.sweeps.executor import cores

    threads = max(1, cores() // n_jobs) if n_jobs > 0 else 1
    print(f"train.threads={threads} for each of the jobs that run side by side; it is part of the result")
    return [f"train.threads={threads}"]


def _grid(typed: list[str], settings: DictConfig) -> list[list[str]]:
    """The overrides of each job, in Hydra's order. Raises InputError for what this cannot sweep over."""
    preset = [f"{key}={values}" for key, values in (settings.sweeper.get("params") or {}).items()]
    task = []
    for override in overrides.parse([*preset, *typed]):
        key = override.key_or_group
        about_hydra = key.startswith(("hydra.", "hydra/"))
        other_group = key != "experiment" and (find_root() / "conf" / key).is_dir()
        if override.is_sweep_override() and (about_hydra or other_group or key in config.how_to_run()):
            raise InputError(f"command line: {key} cannot be swept, for it changes no result")
        if key == "hydra.sweep.subdir":
            raise InputError("command line: hydra.sweep.subdir is the job's number; name another hydra.sweep.dir")
        if not about_hydra:
            task.append(override.input_line)
    jobs = overrides.grid(task)
    if jobs != overrides.grid(task):
        raise InputError("command line: shuffle() gives other jobs each time, so none could be found again")
    return jobs


def _points(jobs: list[list[str]]) -> tuple[DictConfig, list[Point]]:
    """A configuration of the sweep, and its points, each one's data prepared. Raises InputError with all bad ones."""
    problems, configs = [], []
    for typed in jobs:
        try:
            cfg = config.load(typed)
            check_data(cfg)
            configs.append(cfg)
        except InputError as error:
            problems.append(f"{' '.join(typed)}: {error}" if len(jobs) > 1 else str(error))
    if problems:
        raise InputError("\n".join(problems))
    data: dict[str, dict] = {}
    points = []
    for number, (typed, cfg) in enumerate(zip(jobs, configs, strict=True)):
        key = json.dumps(OmegaConf.to_container(cfg.prepare))
        about = data.get(key) or data.setdefault(key, _prepared(cfg))
        if not about.get("refused"):
            about = about | {"fingerprint": fingerprint(cfg, about["data_sha256"])}
        points.append(Point(number, _name(typed, jobs), typed, config.parameters(cfg), **about))
    return configs[0], points


def _prepared(cfg: DictConfig) -> dict[str, str]:
    """The sha256 of the data, or why it cannot be prepared: then the runs that need it fail, and no others."""
    try:
        return {"data_sha256": prepared_for(cfg).sha256}
    except (InputError, OSError) as error:
        return {"refused": str(error)}


def _name(typed: list[str], jobs: list[list[str]]) -> str:
    """What tells a job from the others: `epochs=12 dense_dropout=0.5`; of a sweep of one, what was typed."""
    common = set.intersection(*map(set, jobs))
    varied = [line.lstrip("+").partition("=") for line in typed if line not in common]
    return " ".join(f"{key.split('.')[-1]}={value}" for key, _, value in varied) or run_name(typed) or "run"


def _open(typed: list[str], settings: DictConfig, cfg: DictConfig, points: list[Point]) -> Sweep:
    """The sweep that the same command began, to go on with it; else a new one in Hydra's directory."""
    told = any(line.startswith("hydra.sweep.dir=") for line in typed)
    folder = _folder(settings)
    reuse = bool(store(cfg))
    about = (cfg.tracking.experiment, reuse, [point.fingerprint or point.overrides for point in points])
    there = [sweepdir.read(folder)] if (folder / sweepdir.RECORD).is_file() else []
    before = there if told else [known for known in sweepdir.known(find_root()) if not known.rerun]
    for known in [] if cfg.sweep.rerun else before:
        these = [point.fingerprint or point.overrides for point in known.points]
        if about == (known.experiment, known.reuse, these):
            print(f"sweep {known.id} goes on", flush=True)
            return known
    if there:
        raise InputError(f"hydra.sweep.dir={settings.sweep.dir}: holds another sweep's results; name another directory")
    typed_first = [override.key_or_group for override in overrides.parse(points[0].overrides)]
    keys = dict.fromkeys(key for key in (*typed_first, *config.parameter_keys()) if key in config.parameter_keys())
    values = {key: {json.dumps(point.parameters[key]) for point in points} for key in keys}
    return Sweep(
        folder=folder,
        id=_id(folder, told),
        command=shlex.join(["epochwise", "run", "-m", *typed]),
        experiment=cfg.tracking.experiment,
        varied=[key for key, different in values.items() if len(different) > 1],
        points=points,
        reuse=reuse,
        rerun=cfg.sweep.rerun,
        validates_on_test=not all(point.parameters["prepare.validation_size"] for point in points),
    )


def _folder(settings: DictConfig) -> Path:
    """The sweep's directory. Raises InputError if it is not in multirun/, where all commands look for sweeps."""
    try:
        folder = (find_root() / settings.sweep.dir).resolve()
    except OmegaConfBaseException as error:
        raise InputError(f"hydra.sweep.dir: {' '.join(str(error).split())}") from error
    if not folder.is_relative_to(find_root() / "multirun") or folder == find_root() / "multirun":
        raise InputError(f"hydra.sweep.dir={settings.sweep.dir}: must lie in multirun/, where sweeps are looked for")
    return folder


def _id(folder: Path, told: bool) -> str:
    """From the last two folders. No id is part of another, for MLflow looks for one in a text that may hold several."""
    name = "_".join(folder.parts[-2:])
    if not told:
        return name
    return f"{re.sub('[^A-Za-z0-9-]', '_', name)}-{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"
