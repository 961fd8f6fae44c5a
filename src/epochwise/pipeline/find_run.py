"""Find a run by its id among all run directories of the project."""

from contextlib import suppress

from epochwise.common.errors import InputError
from epochwise.common.paths import find_root
from epochwise.pipeline.directories import pipeline_run, run_directories
from epochwise.pipeline.model_record import record_of_model, restore_pipeline_record
from epochwise.runs.directory import RunDirectory
from epochwise.runs.record import RunRecord


def find_run(run_id: str) -> RunDirectory | None:
    """The directory of the run with this id, or None.

    The pipeline's run is the one of the model in models/, whatever run.json beside it says. Then that is mended.
    """
    if not run_id:
        return None
    pipeline = pipeline_run()
    if pipeline.model.is_file() and _is(record_of_model(pipeline), run_id):
        restore_pipeline_record(pipeline)
    for run in (pipeline, *run_directories(find_root())):
        if run == pipeline and run.model.is_file() and not _is(record_of_model(run), run_id):
            continue
        with suppress(InputError):  # a damaged or missing record of another run must not keep this one from being found
            if _is(run.read_record(), run_id):
                return run
    return None


def _is(record: RunRecord | None, run_id: str) -> bool:
    return record is not None and run_id in (record.run_id, record.token)
