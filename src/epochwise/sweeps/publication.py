"""Publish a sweep: bring MLflow up to date with its runs and its leaderboard."""

from dataclasses import replace

from epochwise.common.directory_locks import try_lock_directory
from epochwise.common.errors import RunError
from epochwise.common.paths import find_root, main_root
from epochwise.runs.record import FAILED, FINISHED, KILLED
from epochwise.sweeps import leaderboard_files
from epochwise.sweeps.halving import RUNG_KEY
from epochwise.sweeps.leaderboard import Leaderboard, Setting, make_leaderboard
from epochwise.sweeps.record import SweepRecord
from epochwise.sweeps.table import as_text, digest
from epochwise.tracking.orphans import end_orphans
from epochwise.tracking.redacted_errors import reason
from epochwise.tracking.server import Server
from epochwise.tracking.sweep_mirror import DROPPED_TAG, RUNG_TAG, SweepContent, SweepRun, has_sweep, publish_sweep

NOT_PUBLISHED = "the leaderboard is on disk; `epochwise publish` logs it later, and the runs that MLflow lacks"


def publish_if_needed(server: Server, sweep: SweepRecord) -> SweepRecord | None:
    """Write the leaderboard's files and publish the sweep; None if MLflow has it as it is now.

    Returns the sweep's record with the link to its runs, which is written to sweep.json. Raises whatever MLflow raises.
    """
    leaderboard = make_leaderboard(find_root(), sweep)
    if has_sweep(server, sweep_content(leaderboard)):
        return None
    leaderboard_files.write(leaderboard)
    link = publish_sweep(server, sweep_content(leaderboard))
    published = replace(sweep, link=link, published=server.name, published_digest=digest(leaderboard))
    return published.write(keep_time=True)


def connect_and_publish(sweep: SweepRecord) -> SweepRecord:
    """Publish the sweep after connecting to MLflow, where runs whose process is gone are ended first.

    A search that MLflow has and that the sweep finishes is published again, with its regret.
    Raises RunError with the reason if MLflow does not take it.
    """
    try:
        server = Server(main_root())
        server.ping()  # otherwise each run whose process is gone would wait for an answer, too
        end_orphans(main_root(), server)
        published = publish_if_needed(server, sweep) or sweep
        for search in make_leaderboard(find_root(), published).finished_searches:
            with try_lock_directory(main_root(), search.folder) as free:
                if free and search.published == server.name:
                    publish_if_needed(server, search)
        return published
    except Exception as error:  # MLflow raises errors of several libraries
        raise RunError(reason(error)) from error


def sweep_content(leaderboard: Leaderboard) -> SweepContent:
    """What MLflow shows of a sweep."""
    sweep, best = leaderboard.sweep, leaderboard.best
    metrics: dict[str, float] = {"runs": len(leaderboard.results), "failed": len(leaderboard.failures)}
    if best:
        metrics |= {name: leaderboard.settings[0].mean(name) for name in ("val_accuracy", "test_accuracy")}
    return SweepContent(
        id=sweep.id,
        command=sweep.command,
        experiment=sweep.experiment,
        varied=sweep.varied,
        runs=[
            SweepRun(result.run, result.point.parameters, _tags(leaderboard, setting))
            for setting in leaderboard.settings
            for result in setting.results
        ],
        superseded=leaderboard.superseded,
        status=_status(leaderboard),
        best_setting=best.point.name if best else None,
        metrics=metrics,
        markdown=as_text(leaderboard, "markdown"),
        files=leaderboard_files.existing(leaderboard),
        digest=digest(leaderboard),
        published=sweep.published,
        published_digest=sweep.published_digest,
    )


def _status(leaderboard: Leaderboard) -> str:
    if leaderboard.failures:
        return FAILED
    return KILLED if leaderboard.missing or leaderboard.sweep.is_broken_off else FINISHED


def _tags(leaderboard: Leaderboard, setting: Setting) -> dict[str, str]:
    """What MLflow shows of a search beside the runs of a setting: its rung, and when it was dropped."""
    rungs = leaderboard.rungs
    if not rungs:
        return {}
    rung, dropped = rungs.index(setting.parameters[RUNG_KEY]) + 1, leaderboard.dropped_at(setting)
    return {RUNG_TAG: f"{rung} of {len(rungs)}", DROPPED_TAG: "not dropped" if dropped is None else str(dropped)}
