"""The model that `--model` names: champion, a run's id, a run directory or a .keras file in one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from epochwise.common.errors import InputError
from epochwise.common.paths import display_path, main_root
from epochwise.config.compose import load
from epochwise.pipeline.directories import pipeline_run
from epochwise.pipeline.find_run import find_run
from epochwise.pipeline.model_record import restore_pipeline_record
from epochwise.runs.directory import RunDirectory
from epochwise.runs.model_archive import check_model_archive
from epochwise.tracking.download import fetch_run
from epochwise.tracking.registry import CHAMPION, champion, model_name, names_of_champions

TRAIN_FIRST = "train first, with `dvc repro`, or with `epochwise run` and then name its run: --model RUN_ID"


@contextmanager
def found_model(wanted: Path | str | None) -> Iterator[tuple[Path, RunDirectory]]:
    """The model's file, checked to hold weights only, and its run directory; None means the pipeline's model.

    A run that only MLflow has is downloaded, and removed at the end. Raises InputError if there is no such model.
    """
    with TemporaryDirectory(prefix="epochwise-") as scratch:
        file = _find(wanted, Path(scratch))
        run = RunDirectory(file.parent)
        restore_pipeline_record(run)
        for path in (file, run.config, run.record):
            if not path.is_file():
                raise InputError(f"{display_path(path)}: not there; {TRAIN_FIRST}")
        check_model_archive(file)
        yield file, run


def _find(wanted: Path | str | None, scratch: Path) -> Path:
    if wanted is None:
        return pipeline_run().model
    if isinstance(wanted, Path):
        return RunDirectory(wanted).model if wanted.is_dir() else wanted
    run_id = _champion_run_id() if wanted == CHAMPION else wanted
    run = find_run(run_id)
    if run is None:
        fetch_run(main_root(), run_id, scratch)
        run = RunDirectory(scratch)
    return run.model


def _champion_run_id() -> str:
    """Of the champion for the data of params.yaml."""
    cfg = load([])
    name = model_name(cfg.tracking.experiment, cfg.prepare.source)
    version = champion(main_root(), name)
    if version is None:
        others = ", ".join(names_of_champions(main_root(), cfg.tracking.experiment))
        hint = f"there is one of {others}; name its run by its id" if others else "`epochwise promote` makes one"
        raise InputError(f"no champion for prepare.source={cfg.prepare.source}, the data of params.yaml; {hint}")
    return str(version["run_id"])
