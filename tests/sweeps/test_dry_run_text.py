"""What a dry run prints: bounds in their order, whatever digits they have, and how many jobs run at once."""

from pathlib import Path

from made_sweeps import point

from epochwise.runs.directory import RunDirectory
from epochwise.sweeps.dry_run import DryRun, LaterRung, PlannedJob
from epochwise.sweeps.dry_run_text import text
from epochwise.sweeps.pace import Pace, kind
from epochwise.sweeps.scheduler import Job


def printed(root: Path, jobs: int, later: list[LaterRung], n_jobs: int | None, store, state: int | None = 10**6) -> str:
    """The text if jobs are known that train ten epochs of a second each."""
    points = [point(number, train__threads=1) for number in range(jobs)]
    paces = {kind(points[0].parameters, points[0].data_sha256): Pace(3, 1.0, 0.0, 2 * 10**6, state)}
    planned = [
        PlannedJob(one, job=Job(one.job, "", RunDirectory(Path("run")), 1, 10, [("t", 10)], None), to_train=10)
        for one in points
    ]
    return "\n".join(text(DryRun(planned, at_least=10 * jobs, later=later), paces, root, n_jobs, store, 1.0))


def estimate(root: Path, least: int, most: int) -> str:
    """The line about time, if a job trains ten epochs, and a later rung so many."""
    lines = printed(root, 1, [LaterRung(20, (1, 4), (1, 4), (least, most))], 1, None).splitlines()
    (line,) = [line for line in lines if line.startswith("time: ")]
    return line


def test_an_estimate_is_from_the_least_to_the_most(tmp_path):
    for least in range(10, 30):
        assert f"about {10 + least} s to {50 + least} s;" in estimate(tmp_path, least, least + 40)
    assert "about 60 s to 168 min;" in estimate(tmp_path, 50, 10_050)
    assert "about 30 s;" in estimate(tmp_path, 20, 20)


def test_with_a_patience_an_estimate_is_the_most(tmp_path):
    """What the known jobs may be spared is not in it, so there is no least."""
    one = point(0, train__threads=1)
    job = Job(0, "", RunDirectory(Path("run")), 1, 10, [("t", 10)], None, patience=2)
    plan = DryRun(
        [PlannedJob(one, job=job, to_train=10, may_end_early=True)], 3, [LaterRung(10, (1, 1), (1, 1), (3, 10))]
    )
    paces = {kind(one.parameters, one.data_sha256): Pace(3, 1.0, 0.0, 2 * 10**6, None)}
    assert any(line.startswith("time: at most about 20 s; ") for line in text(plan, paces, tmp_path, 1, None, 1.0))


def test_how_many_nodes_of_a_cluster_work_is_not_known(tmp_path):
    text = printed(tmp_path, 30, [], None, None)
    assert "30 runs to run on as many workers as the cluster has room for: 300 epochs to train" in text
    assert "time: about 5 min if one job follows the other; an epoch" in text


def test_a_rung_with_few_settings_has_no_use_for_many_workers(tmp_path, monkeypatch):
    monkeypatch.setattr("epochwise.sweeps.dry_run_text.worker_count", lambda n_jobs, threads: min(n_jobs, len(threads)))
    text = printed(tmp_path, 4, [LaterRung(20, (1, 1), (1, 1), (40, 40))], 4, None)
    assert " on 4 workers: 80 epochs to train" in text
    assert "about 50 s;" in text, "10 s for the four that are known, and 40 s for the one that is left"


def test_states_are_told_where_they_go(tmp_path):
    here = printed(tmp_path, 2, [], 1, tmp_path)
    assert "disk: at most 24 MB, and " in here and "1.0 MB a state" in here and "states: " not in here
    there = printed(tmp_path, 2, [], 1, "s3://team/states")
    assert "disk: at most 4 MB, and with tracking as much again for runs in MLflow: 2.0 MB a run; " in there
    assert "states: at most 20 MB, 1.0 MB a state, in s3://team/states" in there
    assert "states: at most 20 states of unknown size, in s3://t" in printed(tmp_path, 2, [], 1, "s3://t", None)
    nowhere = printed(tmp_path, 2, [], 1, None)
    assert "states: none are kept" in nowhere and "MB a state" not in nowhere
