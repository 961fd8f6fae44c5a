"""Keep models/run.json in step with models/model.keras, which DVC may exchange.

run.json differs between two equal runs, so it is no output of DVC: it would make dvc.lock differ, too. But DVC puts
another model into models/ when it checks out a commit, restores a stage from its run cache, or pulls from a remote.
Then the record of that model is looked for by the model's sha256: first among the copies that are kept of all records,
then in MLflow, where a run of `epochwise run` with the same model serves as well. If neither has it, because the model
came from another machine, a record is made from DVC's outputs.
"""

from contextlib import suppress
from pathlib import Path

from omegaconf import OmegaConf

from epochwise.common.directory_locks import internal_folder, try_lock_directory
from epochwise.common.errors import InputError
from epochwise.common.files import file_digest
from epochwise.common.git import try_git
from epochwise.common.paths import find_root, main_root
from epochwise.data.prepared import PreparedData
from epochwise.pipeline.datasets import open_prepared
from epochwise.pipeline.directories import PREPARED, pipeline_run
from epochwise.runs.directory import RunDirectory
from epochwise.runs.lineage import Lineage
from epochwise.runs.model_archive import check_model_archive
from epochwise.runs.record import FINISHED, RunRecord, now
from epochwise.tracking.description import describe_run
from epochwise.tracking.download import fetch_record_of_model

RESTORED_NAME = "restored from DVC"


def keep_record(record: RunRecord) -> None:
    """Keep a copy of the record of a finished pipeline run, by which `restore_record` finds it."""
    if record.model_sha256:
        record.write(_kept(record.model_sha256))


def record_of_model(run: RunDirectory) -> RunRecord | None:
    """The record of model.keras in the directory: run.json if it is that, else a kept copy; None without either."""
    if not run.model.is_file():
        return None
    model_sha256 = file_digest(run.model)
    with suppress(InputError):  # no record, or a damaged one
        record = run.read_record()
        # Records of early versions do not name the model; evaluate compares the weights.
        if record.model_sha256 == model_sha256 or (record.model_sha256 is None and record.status == FINISHED):
            return record
    with suppress(InputError):
        return RunRecord.read(_kept(model_sha256))
    return None


def restore_record(run: RunDirectory, data: PreparedData) -> None:
    """Make run.json the record of model.keras, from a kept copy, from MLflow, or else from DVC's outputs.

    Needs the lock of the directory. `data` is the prepared data that the model was trained with. Raises InputError if
    an output is missing or damaged.
    """
    if not run.model.is_file() or _restore_kept(run):
        return
    check_model_archive(run.model)
    if not fetch_record_of_model(main_root(), file_digest(run.model), run.record):
        run.write_record(_record_of_outputs(run, data))
        print(f"{run.path.name}: the run of this model is not known here; its record was made from DVC's outputs")


def _restore_kept(run: RunDirectory) -> bool:
    """Whether run.json is the record of model.keras, after a kept copy was brought back if it was not."""
    record = record_of_model(run)
    if record is None:
        return False
    with suppress(InputError):
        if run.read_record() == record:
            return True
    run.write_record(record)
    return True


def restore_pipeline_record(run: RunDirectory) -> None:
    """Make models/run.json the record of the model that DVC has put beside it. Does nothing for another `run`.

    Nothing is done either while a stage works in models/. Raises InputError if a record must be made from DVC's outputs
    and one of those is missing or damaged.
    """
    if run.path.resolve() != pipeline_run().path.resolve() or not run.model.is_file():
        return
    run = pipeline_run()
    with suppress(InputError):
        if run.read_record() == record_of_model(run):  # nothing to write, as in a project that may only be read
            return
    with try_lock_directory(main_root(), run.path) as free:
        if free and not _restore_kept(run):
            restore_record(run, open_prepared(find_root() / PREPARED, run.read_config().prepare))


def _kept(model_sha256: str) -> Path:
    return internal_folder(main_root()) / "records" / f"{model_sha256}.json"


def _record_of_outputs(run: RunDirectory, data: PreparedData) -> RunRecord:
    """A record without what DVC's outputs do not say: the machine, the times and what the training cost.

    Fingerprint and trajectory stay empty, because the processor and the libraries that decided the weights are not
    known. So no sweep takes this run for one of its own.
    """
    from epochwise.training.model_file import load_model, weights_sha256  # imports TensorFlow

    cfg, history = run.read_config(), run.read_history()
    experiment = OmegaConf.select(cfg, "tracking.experiment")
    if not experiment or not history:
        raise InputError(f"{run.path}: has no history, or no tracking.experiment in config.yaml; train again")
    commit = _commit_of_outputs(run)
    lineage = Lineage(commit, git_dirty=False if commit else None, git_diff=b"", overrides=(), reproduce="dvc pull")
    token = file_digest(run.model)[:32]
    return RunRecord(
        run_id=token,
        token=token,
        name=RESTORED_NAME,
        experiment=experiment,
        fingerprint="",
        trajectory="",
        weights_sha256=weights_sha256(load_model(run.model)),
        model_sha256=file_digest(run.model),
        data_sha256=data.sha256,
        epochs=len(history),
        epochs_reused=len(history),
        status=FINISHED,
        started=now(),
        ended=now(),
        git_commit=commit,
        git_dirty=lineage.git_dirty,
        mlflow=describe_run(cfg, lineage, data, ""),
    )


def _commit_of_outputs(run: RunDirectory) -> str | None:
    """The last commit that changed dvc.lock, if that dvc.lock names this model."""
    root = find_root()
    commit = (try_git(root, "log", "-1", "--format=%H", "--", "dvc.lock") or "").strip()
    lock = try_git(root, "show", f"{commit}:./dvc.lock") if commit else None
    return commit if lock and file_digest(run.model, "md5") in lock else None
