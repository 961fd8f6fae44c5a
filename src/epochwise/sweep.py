"""`epochwise run`: one configuration, or with -m every point of a grid, through Hydra."""

import sys
from pathlib import Path

from epochwise import InputError, RunError, config
from epochwise.check import check_data
from epochwise.config import find_root


def run(arguments: list[str]) -> None:
    """Run Hydra's command line `arguments` (key=value …, -m, --cfg job …).

    Every configuration is checked before the first one runs. Raises InputError with all that is wrong, and RunError
    at the end if jobs failed; a failed job does not stop the others.
    """
    import hydra
    from hydra._internal.utils import get_args_parser
    from hydra.core.hydra_config import HydraConfig

    parser = get_args_parser()
    parser.error = _refuse
    parsed = parser.parse_args(arguments)
    _check_all(config.grid(parsed.overrides) if parsed.multirun else [parsed.overrides])
    failures: list[Exception] = []

    def job(cfg) -> None:
        from epochwise.pipeline import run_all

        hydra_cfg = HydraConfig.get()
        overrides, preset = list(hydra_cfg.overrides.task), hydra_cfg.runtime.choices.get("experiment") or ""
        try:
            run_all(cfg, Path(hydra_cfg.runtime.output_dir), overrides, preset)
        except (InputError, RunError, OSError) as error:
            failures.append(error)
            print(f"failed: {' '.join(overrides)}: {error}", file=sys.stderr)

    sys.argv = ["epochwise run", *arguments]
    hydra.main(version_base="1.3", config_path=str(find_root() / "conf"), config_name="config")(job)()
    if failures and not parsed.multirun:
        raise failures[0]
    if failures:
        raise RunError(f"{len(failures)} of the sweep's jobs failed, see above")


def _refuse(message: str) -> None:
    raise InputError(message)


def _check_all(jobs: list[list[str]]) -> None:
    problems = []
    for overrides in jobs:
        try:
            check_data(config.load(overrides))
        except InputError as error:
            problems.append(f"{' '.join(overrides)}: {error}" if len(jobs) > 1 else str(error))
    if problems:
        raise InputError("\n".join(problems))
