"""Bring MLflow level with run directories: after an outage, in a fresh clone, on another server."""

from pathlib import Path

from epochwise import InputError, RunError, leaderboard, rundir, running, sweep_view, sweepdir, tracking
from epochwise.pipeline import MODELS, REPORTS
from epochwise.project import find_root, main_root
from epochwise.view import bring_level, check


def publish(folders: list[Path]) -> None:
    """Tell MLflow what it does not know of the runs in `folders`; if there are none, of all runs and sweeps here.

    Raises InputError if a named folder holds no run, and RunError if MLflow does not answer, or a run cannot be told;
    then the same again goes on from there.
    """
    for folder in folders:
        check(folder)
    root = find_root()
    try:
        server = tracking.Server(main_root())
        running.settle(main_root(), server)
        problems = [problem for folder in folders or _all(root) if (problem := _publish_one(server, folder))]
        if not folders:
            _publish_sweeps(root, server)
    except InputError:
        raise
    except Exception as error:  # see tracking.Server
        reason = tracking.without_secrets(" ".join(str(error).split()))
        raise RunError(f"MLflow at {tracking.server_name(main_root())}: {reason}; start it again later") from error
    if problems:
        raise RunError("\n".join(problems))


def _all(root: Path) -> list[Path]:
    pipeline = [root / MODELS] if (root / MODELS / rundir.RECORD).is_file() else []
    return [*pipeline, *rundir.all_of(root)]


def _publish_one(server: tracking.Server, folder: Path) -> str:
    """Print what became of the run; what is wrong with its directory, if anything is."""
    shown = folder.relative_to(find_root()) if folder.is_relative_to(find_root()) else folder
    with running.alone(main_root(), folder) as free:
        try:
            record = check(folder)
            if not free or record["status"] == "RUNNING":
                print(f"{shown}: at work, or was when it was copied; left as it is")
                return ""
            view = bring_level(server, folder, reports_of(folder))
        except (InputError, OSError) as error:
            return str(error)
    said = "was deleted in MLflow, so it stays so" if view.deleted else f"level as {view.run_id}"
    print(f"{shown}: {record['name']}: {said}")
    return ""


def reports_of(folder: Path) -> Path | None:
    """Where a run is evaluated, if that is not its own directory: so it is with the pipeline's."""
    return find_root() / REPORTS if folder.resolve() == find_root() / MODELS else None


def _publish_sweeps(root: Path, server: tracking.Server) -> None:
    for sweep in sweepdir.known(root):
        if sweep.published != server.name:
            board = leaderboard.make(root, sweep)
            leaderboard.write(board)
            sweep.link = sweep_view.publish(server, board)
            sweep.published = server.name
            sweep.write()
            print(f"sweep {sweep.id}: {sweep.link}")
