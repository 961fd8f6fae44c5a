"""Find a run by its id, or by the start of it, among all run directories of the project."""

import re
from collections.abc import Iterator
from contextlib import suppress

from epochwise.common.errors import InputError
from epochwise.common.paths import find_root
from epochwise.pipeline.directories import pipeline_run, run_directories
from epochwise.pipeline.model_record import record_of_model, restore_pipeline_record
from epochwise.runs.directory import RunDirectory
from epochwise.runs.record import RunRecord

SHORTENED = re.compile("[0-9a-f]{1,31}")  # the start of an id
MAX_NAMED = 5  # runs in a message


def find_run(run_id: str) -> RunDirectory | None:
    """The directory of the run with this id, or None. An id may be shortened to a start that no other run has.

    A whole token finds its run, too; the start of one does not, for users are shown MLflow's id where there is one. The
    pipeline's run is the one of the model in models/, whatever run.json beside it says. Then that is mended.
    Raises InputError if several runs have ids with this start.
    """
    started: dict[str, tuple[RunDirectory, RunRecord]] = {}  # by the whole id, the latest run first
    for run, record in _records():
        if run_id in (record.run_id, record.token) and run_id and _is_in_place(run, record):
            return run
        if SHORTENED.fullmatch(run_id) and record.run_id.startswith(run_id):
            started.setdefault(record.run_id, (run, record))
    if len(started) > 1:
        named = ", ".join(f"{key} ({record.name})" for key, (_, record) in [*started.items()][:MAX_NAMED])
        raise InputError(f"{run_id}: the ids of {len(started)} runs begin so: {named}; give more of the id")
    return next((run for run, record in started.values() if _is_in_place(run, record)), None)


def find_finished(fingerprint: str, experiment: str) -> RunDirectory | None:
    """The directory of a run with this fingerprint that is trained, evaluated and FINISHED; None if there is none.

    `experiment` is the one in MLflow that it was made in.
    """
    for run, record in _records():
        wanted = (record.fingerprint, record.experiment) == (fingerprint, experiment)
        if wanted and _is_in_place(run, record) and run.read_complete() and run.read_own_metrics():
            return run
    return None


def _records() -> Iterator[tuple[RunDirectory, RunRecord]]:
    """All runs on disk with their records: the pipeline's, then the latest first."""
    pipeline = pipeline_run()
    of_model = record_of_model(pipeline) if pipeline.model.is_file() else None
    if of_model:
        yield pipeline, of_model
    for run in (*([] if pipeline.model.is_file() else [pipeline]), *run_directories(find_root())):
        with suppress(InputError):  # a damaged or missing record of another run must not keep this one from being found
            yield run, run.read_record()


def _is_in_place(run: RunDirectory, record: RunRecord) -> bool:
    """Whether run.json is this record, after that of the pipeline's model was brought back."""
    restore_pipeline_record(run)
    return run.read_record().run_id == record.run_id
