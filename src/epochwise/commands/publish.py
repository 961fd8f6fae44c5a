"""`epochwise publish`: bring MLflow up to date with run directories, after an outage, in a clone, on another server."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from epochwise.commands.find_named import find_named
from epochwise.common.directory_locks import try_lock_directory
from epochwise.common.errors import InputError, RunError
from epochwise.common.paths import display_path, find_root, main_root
from epochwise.pipeline.directories import pipeline_run, run_directories
from epochwise.pipeline.model_record import restore_pipeline_record
from epochwise.runs.directory import RunDirectory
from epochwise.runs.record import RUNNING
from epochwise.sweeps.directory import finished_runs, known_sweeps
from epochwise.sweeps.publication import publish_if_needed
from epochwise.sweeps.record import SweepRecord
from epochwise.tracking.address import server_name
from epochwise.tracking.orphans import end_orphans
from epochwise.tracking.redacted_errors import reason
from epochwise.tracking.run_mirror import sync_run
from epochwise.tracking.server import Server

Item = TypeVar("Item", RunDirectory, SweepRecord)


def publish(wanted: list[Path | str]) -> None:
    """Log to MLflow what it lacks of the runs and sweeps `wanted`, ids or directories; without any, of all there are.

    Raises InputError if one of them is neither a run nor a sweep, and RunError if MLflow does not answer or a run
    cannot be logged; the same command then goes on from there.
    """
    root = find_root()
    named = [find_named(one) for one in wanted]
    sweeps = [one for one in named if isinstance(one, SweepRecord)]
    runs = [one for one in named if isinstance(one, RunDirectory)]
    for run in runs:
        run.read_record().check_publishable(run.record)
    try:
        server = Server(main_root())
        server.ping()
    except InputError:  # the address is none
        raise
    except Exception as error:  # MLflow raises errors of several libraries
        raise _no_answer(error) from error
    end_orphans(main_root(), server)
    if wanted:
        for sweep in sweeps:
            runs += _runs_of(sweep, root)
    else:
        sweeps = known_sweeps(root)
        pipeline = pipeline_run()
        has_pipeline = pipeline.record.is_file() or pipeline.model.is_file()
        runs = [*([pipeline] if has_pipeline else []), *run_directories(root)]
    problems = [_attempt(server, run, display_path(run.path), _publish_run) for run in runs]
    problems += [_attempt(server, sweep, f"sweep {sweep.id}", _publish_sweep) for sweep in sweeps]
    found = [problem for problem in problems if problem]
    if found:
        refused = wanted and all(isinstance(problem, InputError) for problem in found)
        raise (InputError if refused else RunError)("\n".join(map(str, found)))


def _runs_of(sweep: SweepRecord, root: Path) -> list[RunDirectory]:
    """The run directories of a sweep: its own, and those elsewhere that hold the same runs."""
    own = [sweep.run_directory(point) for point in sweep.points]
    return [run for run in own if run.record.is_file()] + [
        run for run in finished_runs(root, sweep).values() if run not in own
    ]


def _attempt(server: Server, item: Item, name: str, action: Callable[[Server, Item], None]) -> Exception | None:
    """What is wrong with one run or sweep; the others are published all the same. Raises RunError if MLflow is gone."""
    try:
        action(server, item)
    except InputError as error:
        return error
    except Exception as error:  # MLflow raises errors of several libraries
        problem = RunError(f"{name}: {reason(error)}")
    else:
        return None
    try:
        server.ping()
    except Exception as error:
        raise _no_answer(error) from error
    return problem


def _no_answer(error: Exception) -> RunError:
    return RunError(f"MLflow at {server_name(main_root())}: {reason(error)}; start it again later")


def _publish_run(server: Server, run: RunDirectory) -> None:
    restore_pipeline_record(run)
    record = run.read_record()
    record.check_publishable(run.record)
    mirror = None if record.status == RUNNING else sync_run(server, run)
    if mirror is None:
        outcome = "still running, or was when it was copied; left as it is"
    elif mirror.deleted:
        outcome = "was deleted in MLflow, so it stays deleted"
    else:
        outcome = f"up to date in MLflow as {mirror.run_id}"
    print(f"{display_path(run.path)}: {record.name}: {outcome}")


def _publish_sweep(server: Server, sweep: SweepRecord) -> None:
    with try_lock_directory(main_root(), sweep.folder) as free:
        if not free:
            print(f"sweep {sweep.id}: still running; it will publish itself")
            return
        sweep = SweepRecord.read(sweep.folder)  # as the process that last worked in it has left it
        published = publish_if_needed(server, sweep)
        if published:
            print(f"sweep {sweep.id}: {published.link}")
