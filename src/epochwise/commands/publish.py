"""Bring MLflow level with run directories: after an outage, in a fresh clone, on another server."""

import os
from collections.abc import Callable
from pathlib import Path

from epochwise.common import locks
from epochwise.common.errors import InputError, RunError
from epochwise.common.paths import find_root, main_root
from epochwise.pipeline.stages import MODELS, REPORTS
from epochwise.runs import directory as rundir
from epochwise.sweeps import leaderboard
from epochwise.sweeps import record as sweepdir
from epochwise.sweeps.record import Sweep
from epochwise.tracking import orphans as running
from epochwise.tracking import server as tracking
from epochwise.tracking import sweep_mirror as sweep_view
from epochwise.tracking.run_mirror import bring_level, check


def publish(folders: list[Path]) -> None:
    """Tell MLflow what it does not know of the runs and sweeps in `folders`; if there are none, of all that are here.

    Raises InputError if a named folder holds neither, and RunError if MLflow does not answer, or a run cannot be told;
    then the same again goes on from there.
    """
    root = find_root()
    sweeps = [sweepdir.read(folder) for folder in folders if (folder / sweepdir.RECORD).is_file()]
    named = [folder for folder in folders if not (folder / sweepdir.RECORD).is_file()]
    for folder in named:
        check(folder)
    try:
        server = tracking.Server(main_root())
        server.ping()
    except Exception as error:  # see tracking.Server
        raise _no_answer(error) from error
    running.settle(main_root(), server)
    for sweep in sweeps:
        own = [sweep.run_folder(point) for point in sweep.points]
        named += [folder for folder in own if (folder / rundir.RECORD).is_file()]
        named += [folder for folder in sweepdir.finished(root, sweep).values() if folder not in own]
    problems = [_attempt(server, folder, _publish_run) for folder in (named if folders else _all(root))]
    problems += [_attempt(server, sweep, _publish_sweep) for sweep in (sweeps if folders else sweepdir.known(root))]
    problems = [problem for problem in problems if problem]
    if problems:
        refused = folders and all(isinstance(problem, InputError) for problem in problems)
        raise (InputError if refused else RunError)("\n".join(map(str, problems)))


def _attempt(server: tracking.Server, item: Path | Sweep, told: Callable) -> Exception | None:
    """What is wrong with one run or sweep: the others are told all the same. Raises RunError if MLflow is gone."""
    try:
        told(server, item)
    except InputError as error:
        return error
    except Exception as error:  # see tracking.Server
        where = item.folder if isinstance(item, Sweep) else item
        problem = RunError(f"{_short(where)}: {tracking.reason(error)}")
    else:
        return None
    try:
        server.ping()
    except Exception as error:
        raise _no_answer(error) from error
    return problem


def _no_answer(error: Exception) -> RunError:
    return RunError(f"MLflow at {tracking.server_name(main_root())}: {tracking.reason(error)}; start it again later")


def _all(root: Path) -> list[Path]:
    pipeline = [root / MODELS] if (root / MODELS / rundir.RECORD).is_file() else []
    return [*pipeline, *rundir.all_of(root)]


def _publish_run(server: tracking.Server, folder: Path) -> None:
    record = check(folder)
    view = None if record["status"] == "RUNNING" else bring_level(server, folder, reports_of(folder))
    if view is None:
        said = "at work, or was when it was copied; left as it is"
    elif view.deleted:
        said = "was deleted in MLflow, so it stays so"
    else:
        said = f"level as {view.run_id}"
    print(f"{_short(folder)}: {record['name']}: {said}")


def reports_of(folder: Path) -> Path | None:
    """Where a run is evaluated, if that is not its own directory: so it is with the pipeline's."""
    return find_root() / REPORTS if folder.resolve() == find_root() / MODELS else None


def _publish_sweep(server: tracking.Server, sweep: Sweep) -> None:
    with locks.alone(main_root(), sweep.folder) as free:
        if not free:
            print(f"sweep {sweep.id}: at work; it will tell MLflow itself")
            return
        sweep = sweepdir.read(sweep.folder)  # as whoever was at work has left it
        board = leaderboard.make(find_root(), sweep)
        if sweep_view.knows(server, board):
            return
        leaderboard.write(board)
        sweep.link = sweep_view.publish(server, board)
        sweep.published, sweep.told = server.name, leaderboard.digest(board)
        record = sweep.folder / sweepdir.RECORD
        last = record.stat()
        sweep.write()
        os.utime(record, ns=(last.st_atime_ns, last.st_mtime_ns))  # the latest sweep stays the latest
        print(f"sweep {sweep.id}: {sweep.link}")


def _short(path: Path) -> Path:
    return path.relative_to(find_root()) if path.is_relative_to(find_root()) else path
