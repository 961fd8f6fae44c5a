"""`epochwise run`: one configuration, or with -m every point of a grid, through Hydra."""

import sys
from argparse import Namespace
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from epochwise import InputError, RunError, config, overrides
from epochwise.pipeline import check_data, run_all
from epochwise.project import find_root


def run(arguments: list[str]) -> None:
    """Run Hydra's command line `arguments` (key=value …, -m, --cfg job …).

    Every configuration is checked before the first one runs. Raises InputError with all that is wrong, and RunError
    at the end if jobs failed; a failed job does not stop the others.
    """
    import hydra
    from hydra.core.hydra_config import HydraConfig

    parsed = _parse(arguments)
    _check_all(overrides.grid(parsed.overrides) if parsed.multirun else [parsed.overrides])
    failures: list[Exception] = []

    def job(cfg: DictConfig) -> None:
        this = HydraConfig.get()
        try:
            OmegaConf.resolve(cfg)
            config.check(cfg)
            run_all(
                cfg, Path(this.runtime.output_dir), list(this.overrides.task), this.runtime.choices.experiment or ""
            )
        except (InputError, RunError, OSError) as error:
            failures.append(error)
            if parsed.multirun:
                print(f"failed: {' '.join(this.overrides.task)}: {error}", file=sys.stderr)

    sys.argv = ["epochwise run", *arguments]
    hydra.main(version_base="1.3", config_path=str(find_root() / "conf"), config_name="config")(job)()
    if failures and not parsed.multirun:
        raise failures[0]
    if failures:
        raise RunError(f"{len(failures)} of the sweep's jobs failed, see above")


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


def _check_all(jobs: list[list[str]]) -> None:
    problems, threads = [], set()
    for job in jobs:
        try:
            cfg = config.load(job)
            check_data(cfg)
            threads.add(cfg.train.threads)
        except InputError as error:
            problems.append(f"{' '.join(job)}: {error}" if len(jobs) > 1 else str(error))
    if len(threads) > 1:
        problems.append("train.threads must be the same in all jobs: they share one process, which sets it once")
    if problems:
        raise InputError("\n".join(problems))
