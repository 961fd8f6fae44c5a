"""The model that `--model` names: champion, a registered model, a run's id, a run directory or a .keras file in one."""

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

TRAIN_FIRST = (
    "train first, with `dvc repro`, or with `epochwise run` and then name its run; "
    "`dvc checkout --force` brings back a model that `dvc repro` made and has removed since"
)


@contextmanager
def found_model(wanted: Path | str | None) -> Iterator[tuple[Path, RunDirectory]]:
    """The model's file, checked to hold weights only, and its run directory; None means the pipeline's model.

    A run that only MLflow has is downloaded, and removed at the end. Raises InputError if there is no such model.
    """
    with TemporaryDirectory(prefix="epochwise-") as scratch:
        file = _find(wanted, Path(scratch))
        run = RunDirectory(file.parent)
        restore_pipeline_record(run)
        if not file.is_file():
            raise InputError(f"{display_path(file)}: not there; {TRAIN_FIRST}")
        check_model_archive(file)
        for path in (run.config, run.record):
            if not path.is_file():
                raise InputError(f"{display_path(path)}: not there; a model is used where its run has written it")
        yield file, run


def _find(wanted: Path | str | None, scratch: Path) -> Path:
    if wanted is None:
        return pipeline_run().model
    if isinstance(wanted, Path):
        return RunDirectory(wanted).model if wanted.is_dir() else wanted
    run_id = _champion_run_id(wanted) or wanted
    run = find_run(run_id)
    if run is None:
        fetch_run(main_root(), run_id, scratch)
        run = RunDirectory(scratch)
    return run.model


def _champion_run_id(wanted: str) -> str | None:
    """Of the champion of the registered model `wanted`, or for the word champion of that for the data of params.yaml.

    None if `wanted` is neither.
    """
    cfg = load([])
    experiment, source = cfg.tracking.experiment, cfg.prepare.source
    if wanted != CHAMPION and not wanted.startswith(f"{experiment}-"):
        return None
    version = champion(main_root(), model_name(experiment, source) if wanted == CHAMPION else wanted)
    if version is None:
        others = " or ".join(f"--model {name}" for name in names_of_champions(main_root(), experiment))
        hint = f"there is {others}" if others else "`epochwise promote` makes one"
        which = f"for prepare.source={source}, the data of params.yaml" if wanted == CHAMPION else f"of {wanted}"
        raise InputError(f"no champion {which}; {hint}")
    return str(version["run_id"])
