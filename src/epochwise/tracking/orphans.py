"""How orphaned runs ended, logged to MLflow. Which runs are orphans, and what run.json says of them, is in `runs/`."""

from contextlib import suppress
from pathlib import Path

from epochwise.common.errors import InputError
from epochwise.runs.active_runs import KILLED_REASON, ActiveRun, forget, mark_orphans
from epochwise.runs.directory import RunDirectory
from epochwise.runs.record import FINISHED, KILLED, RUNNING
from epochwise.tracking.run_mirror import sync_run
from epochwise.tracking.server import Server

MAX_FAILURES = 2  # one orphan may fail for a reason of its own; after two, the server is taken to be at fault


def end_orphans(root: Path, server: Server | None = None) -> None:
    """Mark orphaned runs KILLED in run.json and, of those that were logged to `server`, also there.

    Never fails with MLflow: what does not work now, the next run that starts tries again.
    """
    failures = 0
    for orphan in mark_orphans(root):
        if server and orphan.server == server.identity and failures < MAX_FAILURES:
            try:
                _end_in_mlflow(server, root, orphan)
                forget(root, orphan.token)
            except Exception:  # MLflow raises many kinds; if it is at fault, this process's own requests say so
                failures += 1


def _end_in_mlflow(server: Server, root: Path, orphan: ActiveRun) -> None:
    """End the orphan's MLflow run, unless it has ended, after logging all results that its directory still holds."""
    run = server.find_run(orphan.experiment, orphan.token)
    if run and run.info.status != RUNNING:
        return
    status, failure = orphan.status or KILLED, ""
    if status != FINISHED:
        failure = KILLED_REASON
        with suppress(InputError):  # of damaged files
            sync_run(server, RunDirectory(root / orphan.directory), orphan.token)
    server.end_run(orphan.experiment, orphan.token, status, orphan.ended, failure)
