"""What `epochwise run -m … --dry-run` prints: jobs, epochs, and an estimate of time and disk."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from epochwise.common.paths import display_path
from epochwise.common.wording import counted
from epochwise.sweeps.cores import worker_count
from epochwise.sweeps.dry_run import Bounds, DryRun, PlannedJob
from epochwise.sweeps.pace import Pace, kind
from epochwise.trajectory.remote_states import Store


def text(
    plan: DryRun, found: Mapping[str, Pace], root: Path, n_jobs: int | None, store: Store | None, max_gb: float
) -> list[str]:
    """The lines. `found` are the paces of runs of these kinds, `n_jobs` that of the launcher, if it has one.

    States go to `store`, which is kept within `max_gb` if it is a folder; None keeps none.
    """
    lines = ["dry run: nothing is run", *map(_job, plan.jobs)]
    for rung in plan.later:
        lines.append(
            f"later: {_between(rung.settings, 'setting')} to {counted(rung.epochs, 'epoch')}: "
            f"{_between(rung.to_train, 'epoch')} to train"
        )
    finished = sum(planned.finished is not None for planned in plan.jobs)
    diverged = sum(planned.diverged is not None for planned in plan.jobs)
    there = f"{finished} finished" + (f", {diverged} diverged" if diverged else "")
    runs = f"{counted(len(plan.jobs), 'job')}, {there}; {_between(plan.runs, 'run')} to run"
    where = "as many workers as the cluster has room for"
    if n_jobs is not None:
        where = counted(_workers(plan, n_jobs), "worker")
    lines.append(f"{runs} on {where}: {_between(plan.epochs, 'epoch')} to train")
    if plan.runs[1]:
        lines += [_time(plan, found, n_jobs), *_disk(plan, found, root, store, max_gb)]
    return lines


def _job(planned: PlannedJob) -> str:
    point, job = planned.point, planned.job
    if planned.finished:
        return f"finished: {point.name} ({display_path(planned.finished.path)})"
    if planned.diverged:
        return f"diverged, and would again: {point.name} ({display_path(planned.diverged.path)})"
    if job is None:
        return f"not run: {point.name}: {point.refused or 'the same run as another job'}"
    shared = planned.missing - planned.to_train
    others = f", {shared} trained by other jobs" if shared else ""
    at_most = "at most " if planned.may_end_early else ""
    return f"to run: {point.name} · epochs: {planned.there} there{others}, {at_most}{planned.to_train} to train"


def _workers(plan: DryRun, n_jobs: int, runs: int | None = None) -> int:
    """How many workers the known jobs have, or so many `runs` of a later rung that are like these."""
    threads = [planned.job.threads for planned in plan.to_run if planned.job]
    return worker_count(n_jobs, threads if runs is None else [max(threads, default=1)] * runs)


def _time(plan: DryRun, found: Mapping[str, Pace], n_jobs: int | None) -> str:
    """At the pace of runs here. Jobs of a rung that is not decided yet are taken to be like those before it."""
    at_once = n_jobs or 1  # how many nodes of a cluster will be free is not known
    known = [(planned, found.get(kind(planned.point.parameters, planned.point.data_sha256))) for planned in plan.jobs]
    paces = [pace for _, pace in known if pace]
    if len(paces) < len(known) or not paces:
        return "time: not known, for no run of this network on these data has trained here"
    seconds = [
        planned.to_train * pace.epoch + (pace.around or 0) * bool(planned.job) for planned, pace in known if pace
    ]
    at_most = "at most " if any(planned.may_end_early for planned in plan.jobs) else ""
    epoch, around = max(pace.epoch for pace in paces), max(pace.around or 0 for pace in paces)
    later = [
        sum(
            (rung.to_train[end] * epoch + rung.runs[end] * around) / _workers(plan, at_once, rung.runs[end])
            for rung in plan.later
        )
        for end in ((1,) if at_most else (0, 1))
    ]
    now = max(sum(seconds) / _workers(plan, at_once), *seconds)
    bounds = list(dict.fromkeys(_duration(now + more) for more in later))
    pace = f"an epoch takes {epoch:.1f} s, and a run {around:.1f} s beside its training"
    runs = sum({id(one): one.runs for one in paces}.values())  # of each kind once
    how = " if one job follows the other" if n_jobs is None else ""
    return f"time: {at_most}about {' to '.join(bounds)}{how}; {pace}, as in {counted(runs, 'run')} here"


def _disk(plan: DryRun, found: Mapping[str, Pace], root: Path, store: Store | None, max_gb: float) -> list[str]:
    """What run directories and states would take, each at most. The size of a state is the largest in the store."""
    directory = max((pace.directory or 0 for pace in found.values()), default=0)
    state = max((pace.state or 0 for pace in found.values()), default=0)
    free = f"{shutil.disk_usage(root).free / 1e9:.1f} GB are free"
    in_folder, epochs = isinstance(store, Path), plan.epochs[1]
    if not directory or (in_folder and not state):
        lines = [f"disk: not known, for no such run is here; {free}"]
    else:
        most = min(epochs * state, int(max_gb * 1e9)) if in_folder else 0
        total, sizes = (most + plan.runs[1] * directory) / 1e6, f"{directory / 1e6:.1f} MB a run"
        sizes += f", {state / 1e6:.1f} MB a state, up to trajectories.max_gb={max_gb:g}" if in_folder else ""
        lines = [f"disk: at most {total:,.0f} MB, and with tracking as much again for runs in MLflow: {sizes}; {free}"]
    if store is None:
        lines.append("states: none are kept")
    elif not in_folder:
        much = (
            f"{epochs * state / 1e6:,.0f} MB, {state / 1e6:.1f} MB a state" if state else f"{counted(epochs, 'state')}"
        )
        lines.append(f"states: at most {much}{'' if state else ' of unknown size'}, in {store}")
    return lines


def _between(bounds: Bounds, noun: str) -> str:
    least, most = bounds
    return counted(most, noun) if least == most else f"at least {least} and at most {counted(most, noun)}"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
