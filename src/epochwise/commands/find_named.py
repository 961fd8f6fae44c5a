"""The run or the sweep that a user names by its id, by the start of that, or by its directory."""

from pathlib import Path

from epochwise.common.errors import InputError
from epochwise.common.paths import find_root
from epochwise.pipeline.directories import run_in
from epochwise.pipeline.find_run import find_run
from epochwise.pipeline.model_record import restore_pipeline_record
from epochwise.runs.directory import RunDirectory
from epochwise.sweeps.directory import find_sweep, known_sweeps
from epochwise.sweeps.record import SweepRecord


def find_named(wanted: Path | str) -> RunDirectory | SweepRecord:
    """What `wanted` names, a directory or an id. The record of the pipeline's run is brought in step with its model.

    Raises InputError if no run and no sweep on disk has this id, or if several ids begin so. Whether a directory holds
    a run is found out when it is read.
    """
    if isinstance(wanted, Path):
        if SweepRecord.exists(wanted):
            return SweepRecord.read(wanted.resolve())
        in_folder = run_in(wanted)
        restore_pipeline_record(in_folder)
        return in_folder
    root, run = find_root(), find_run(wanted)
    begin_so = [sweep.id for sweep in known_sweeps(root) if sweep.id.startswith(wanted)] if run else []
    if run and begin_so and run.read_record().run_id != wanted:
        named = ", ".join([f"run {run.read_record().run_id}", *(f"sweep {sweep_id}" for sweep_id in begin_so)])
        raise InputError(f"{wanted}: the ids of {named} begin so; give more of the id")
    if run:
        return run
    try:
        return find_sweep(root, wanted)
    except InputError as error:
        raise InputError(f"{wanted}: no run of this id or directory, and {error}") from error
