"""What a dry run prints: bounds in their order, whatever digits they have, and how many jobs run at once."""

from pathlib import Path

from made_sweeps import point

from epochwise.runs.directory import RunDirectory
from epochwise.sweeps.dry_run import DryRun, LaterRung, PlannedJob
from epochwise.sweeps.dry_run_text import text
from epochwise.sweeps.pace import Pace, kind
from epochwise.sweeps.scheduler import Job

ONE = point(0, train__threads=1)
PACES = {kind(ONE.parameters, ONE.data_sha256): Pace(3, 1.0, 0.0, 1000, 1000)}  # an epoch takes a second


def known(jobs: int) -> list[PlannedJob]:
    """Jobs that train ten epochs each."""
    runs = [Job(number, "a job", RunDirectory(Path("run")), 1, 10, [("t", 10)], None) for number in range(jobs)]
    return [PlannedJob(ONE, job=job, missing=10, to_train=10) for job in runs]


def estimate(root: Path, least: int, most: int) -> str:
    """The line about time, if there is one job, and a later rung has so many epochs."""
    plan = DryRun(known(1), at_least=10, later=[LaterRung(20, (1, 4), (1, 4), (least, most))])
    (line,) = [line for line in text(plan, PACES, root, 1, 1.0) if line.startswith("time: ")]
    return line


def test_an_estimate_is_from_the_least_to_the_most(tmp_path):
    for least in range(10, 30):
        assert f"about {10 + least} s to {50 + least} s;" in estimate(tmp_path, least, least + 40)
    assert "about 60 s to 168 min;" in estimate(tmp_path, 50, 10_050)
    assert "about 30 s;" in estimate(tmp_path, 20, 20)


def test_a_rung_with_few_settings_has_no_use_for_many_workers(tmp_path):
    plan = DryRun(known(4), at_least=40, later=[LaterRung(20, (1, 1), (1, 1), (40, 40))])
    *_, jobs, time, _ = text(plan, PACES, tmp_path, 4, 1.0)
    assert " on 4 workers: 80 epochs to train" in jobs
    assert "about 50 s;" in time, "10 s for the four that are known, and 40 s for the one that is left"


def test_how_many_nodes_of_a_cluster_work_is_not_known(tmp_path):
    *_, jobs, time, _ = text(DryRun(known(4), at_least=40), PACES, tmp_path, None, 1.0)
    assert "4 jobs, 0 finished; 4 runs to run on a cluster: 40 epochs to train" in jobs
    assert "about 40 s if one job follows the other;" in time
