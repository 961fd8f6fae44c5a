"""Sweeps in multirun/, and which of their points are finished.

That is read from the run directories, wherever they lie, so it is never out of date.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from epochwise.common.errors import InputError, one_line
from epochwise.common.files import find_files
from epochwise.pipeline.directories import run_directories
from epochwise.runs.directory import RunDirectory
from epochwise.runs.record import FAILED, RunRecord
from epochwise.sweeps.record import RECORD, Point, SweepRecord
from epochwise.trajectory.identity import mixed_fingerprint_of

MAX_NAMED = 5  # sweeps in a message


@dataclass(frozen=True)
class EndedRuns:
    """The runs of a sweep's points that need not be run, by job."""

    finished: dict[int, RunDirectory]
    diverged: dict[int, RunDirectory]  # of a search, which drops their settings: the same run would end so again

    def __contains__(self, job: int) -> bool:
        return job in self.finished or job in self.diverged


def known_sweeps(root: Path) -> list[SweepRecord]:
    """All sweeps in multirun/, the latest first. A sweep.json that is not readable is left out."""
    found = []
    for path in find_files(root / "multirun", RECORD):
        with suppress(InputError):
            found.append(SweepRecord.read(path.parent))
    return sorted(found, key=lambda sweep: (sweep.changed, sweep.id), reverse=True)


def find_sweep(root: Path, wanted: Path | str | None) -> SweepRecord:
    """The sweep with this id, or the start of one that no other has, or in this folder; the latest for None.

    Raises InputError if there is none, or if several ids begin so.
    """
    if wanted and SweepRecord.exists(root / wanted):
        return SweepRecord.read((root / wanted).resolve())
    sweeps = known_sweeps(root)
    if not sweeps:
        raise InputError("no sweep is in multirun/ yet; `epochwise run -m …` makes one")
    if wanted is None:
        return sweeps[0]
    started = [sweep for sweep in sweeps if sweep.id.startswith(str(wanted))]
    exact = [sweep for sweep in started if sweep.id == wanted]
    if len(started) == 1 or exact:
        return (exact or started)[0]
    names = ", ".join(sweep.id for sweep in (started or sweeps)[:MAX_NAMED])
    if started:
        raise InputError(f"{wanted}: the ids of {len(started)} sweeps begin so: {names}; give more of the id")
    raise InputError(f"no sweep {wanted}; the latest in multirun/: {names}")


def finished_runs(root: Path, sweep: SweepRecord, points: Iterable[Point] | None = None) -> dict[int, RunDirectory]:
    """The finished runs of a sweep's points, all or those given, by job."""
    return ended_runs(root, sweep, points).finished


def ended_runs(root: Path, sweep: SweepRecord, points: Iterable[Point] | None = None) -> EndedRuns:
    """The runs of a sweep's points, all or those given, that are finished or, of a search, have diverged.

    A run lies in the point's own run directory, or in any other one that holds the very same run.
    """
    points = list(sweep.points if points is None else points)
    missing = {point.fingerprint for point in points if point.fingerprint}
    own = [sweep.run_directory(point) for point in points]
    finished: dict[str, RunDirectory] = {}
    diverged: dict[str, RunDirectory] = {}
    for run in own if sweep.rerun else chain(own, run_directories(root)):
        if not missing:
            break
        ended = _ended_run(run, missing, sweep)
        if ended:
            fingerprint, record = ended
            (diverged if record.diverged else finished)[fingerprint] = run
            missing.remove(fingerprint)
    return EndedRuns(_by_job(points, finished), _by_job(points, diverged))


def log_file(run: RunDirectory) -> Path:
    """What the worker printed while it ran the job of this run directory."""
    return run.path / "run.log"


def failure_file(run: RunDirectory) -> Path:
    """Why a job failed, in a file of its own: many jobs on other hosts may end at once."""
    return run.path / "failure.txt"


def read_failure(run: RunDirectory) -> str:
    """Why the job of this run directory failed, in one line, as far as the directory says; else an empty text."""
    with suppress(OSError, ValueError):
        return one_line(failure_file(run).read_text(encoding="utf-8")) or FAILED
    with suppress(InputError):
        record = run.read_record()
        if record.status == FAILED:
            return one_line(record.reason) or FAILED
    return ""


def _by_job(points: Iterable[Point], found: Mapping[str, RunDirectory]) -> dict[int, RunDirectory]:
    return {point.job: found[key] for point in points if (key := point.fingerprint) and key in found}


def _ended_run(run: RunDirectory, wanted: set[str], sweep: SweepRecord) -> tuple[str, RunRecord] | None:
    """The fingerprint and the record of a run that need not be run for the sweep, if it is `wanted`.

    Without `reuse`, a run that reused epochs does not count.
    run.json is read first: most runs are others, and to check that a run is complete takes several times as long.
    """
    try:
        record = run.read_record()
    except InputError:
        return None
    fingerprint = record.fingerprint
    if sweep.mixed:
        fingerprint = mixed_fingerprint_of(record.identity, record.end_rule or {"epochs": record.epochs})
    if fingerprint not in wanted or (record.epochs_reused and not sweep.reuse):
        return None
    ended = record if record.diverged and sweep.search else run.read_complete()
    return (fingerprint, ended) if ended else None
