"""`epochwise report`: write report.html for a sweep or a run."""

from pathlib import Path

from epochwise.common.errors import InputError
from epochwise.common.files import write_bytes
from epochwise.common.paths import display_path, find_root
from epochwise.pipeline.directories import pipeline_run, run_directories
from epochwise.pipeline.find_run import find_run
from epochwise.pipeline.model_record import restore_pipeline_record
from epochwise.report.content import report_of_run
from epochwise.report.page import render
from epochwise.runs.directory import RunDirectory
from epochwise.sweeps import leaderboard_files
from epochwise.sweeps.directory import find_sweep, known_sweeps
from epochwise.sweeps.leaderboard import make_leaderboard
from epochwise.sweeps.record import RECORD, SweepRecord


def report(wanted: Path | str | None) -> None:
    """Write the report of a sweep or a run, and print where it is; without `wanted`, of the latest one.

    `wanted` is an id or a directory. Raises InputError if there is no such sweep or run, or if the run is not finished.
    """
    root = find_root()
    found = _latest(root) if wanted is None else _find(root, wanted)
    if isinstance(found, SweepRecord):
        path = leaderboard_files.write_report(make_leaderboard(root, found))
    else:
        restore_pipeline_record(found)
        record = found.read_finished()
        path = found.report
        write_bytes(path, render(report_of_run(found, record)))
    print(f"report {display_path(path)}")


def _find(root: Path, wanted: Path | str) -> RunDirectory | SweepRecord:
    if isinstance(wanted, Path):
        folder = wanted.resolve()
        if SweepRecord.exists(folder):
            return SweepRecord.read(folder)
        pipeline = pipeline_run()
        return pipeline if folder in (pipeline.path.resolve(), pipeline.evaluation.resolve()) else RunDirectory(folder)
    run = find_run(wanted)
    if run:
        return run
    try:
        return find_sweep(root, wanted)
    except InputError as error:
        raise InputError(f"{wanted}: no run of this id or directory, and {error}") from error


def _latest(root: Path) -> RunDirectory | SweepRecord:
    """The sweep or the single run that was written to last."""
    sweeps = known_sweeps(root)[:1]
    single = [
        run
        for run in (pipeline_run(), *run_directories(root))
        if run.record.is_file() and run.metrics.is_file() and not SweepRecord.exists(run.path.parent)
    ]
    candidates: list[tuple[float, RunDirectory | SweepRecord]] = [
        *((run.record.stat().st_mtime, run) for run in single),
        *(((sweep.folder / RECORD).stat().st_mtime, sweep) for sweep in sweeps),
    ]
    if not candidates:
        raise InputError("no run or sweep is here yet; `epochwise run` makes one")
    return max(candidates, key=lambda pair: pair[0])[1]
