"""`epochwise report`: write report.html for a sweep or a run."""

import errno
from contextlib import suppress
from pathlib import Path

from epochwise.commands.find_named import find_named
from epochwise.common.errors import InputError
from epochwise.common.files import write_bytes
from epochwise.common.paths import display_path, find_root
from epochwise.pipeline.directories import pipeline_run, run_directories
from epochwise.pipeline.model_record import restore_pipeline_record
from epochwise.report.content import report_of_run
from epochwise.report.page import render
from epochwise.runs.directory import REPORT, RunDirectory
from epochwise.sweeps import leaderboard_files
from epochwise.sweeps.directory import known_sweeps
from epochwise.sweeps.leaderboard import make_leaderboard
from epochwise.sweeps.record import SweepRecord

MARK = b'<p class="kind">Epochwise report</p>'  # in every report


def report(wanted: Path | str | None, out: Path | None) -> None:
    """Write the report of a sweep or a run, and print where it is; without `wanted`, of the latest one.

    `wanted` is an id or a directory; `out` is the file to write, by default report.html in the directory. Raises
    InputError if there is no such sweep or run, if the run is not finished, or if the file may not be written.
    """
    root = find_root()
    found = _latest(root) if wanted is None else find_named(wanted)
    if isinstance(found, SweepRecord):
        content, path = leaderboard_files.sweep_report(make_leaderboard(root, found)), found.folder / REPORT
    else:
        restore_pipeline_record(found)
        content, path = report_of_run(found, found.read_finished()), found.report
    if out:
        _check_out(out)
    path = out or path
    try:
        write_bytes(path, render(content))
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise
        raise InputError(f"{path}: may not be written ({error.strerror}); name another file by --out") from error
    print(f"report {display_path(path)}")


def _check_out(out: Path) -> None:
    """Raise InputError unless `out` can be written and is no other file than an earlier report."""
    if out.suffix != ".html" or out.is_dir() or not out.parent.is_dir():
        raise InputError(f"--out must be a .html in a folder that exists, got {out}")
    if out.is_file() and MARK not in out.read_bytes():
        raise InputError(f"--out {out}: holds another page than a report; name another file")


def _latest(root: Path) -> RunDirectory | SweepRecord:
    """The sweep or the single run that was at work last, by the times in their records."""
    candidates: list[tuple[int, RunDirectory | SweepRecord]] = [(sweep.changed, sweep) for sweep in known_sweeps(root)]
    for run in (pipeline_run(), *run_directories(root)):
        if run.metrics.is_file() and not SweepRecord.exists(run.path.parent):
            with suppress(InputError):  # none, or a damaged one
                record = run.read_record()
                candidates.append((record.ended or record.started or 0, run))
    if not candidates:
        raise InputError("no run or sweep is here yet; `epochwise run` makes one")
    return max(candidates, key=lambda pair: pair[0])[1]
