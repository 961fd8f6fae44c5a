"""What a dry run prints: bounds in their order, whatever digits they have."""

from pathlib import Path

from made_sweeps import point

from epochwise.runs.directory import RunDirectory
from epochwise.sweeps.dry_run import DryRun, LaterRung, PlannedJob
from epochwise.sweeps.dry_run_text import text
from epochwise.sweeps.pace import Pace, kind
from epochwise.sweeps.scheduler import Job


def estimate(root: Path, least: int, most: int) -> str:
    """The line about time, if the job that is known trains ten epochs of a second each, and a later rung so many."""
    one = point(0, train__threads=1)
    job = Job(0, "a job", RunDirectory(Path("run")), 1, 10, [("trajectory", 10)], None)
    later = [LaterRung(20, (1, 4), (1, 4), (least, most))]
    plan = DryRun([PlannedJob(one, job=job, missing=10, to_train=10)], at_least=10, later=later)
    paces = {kind(one.parameters, one.data_sha256): Pace(3, 1.0, 0.0, 1000, 1000)}
    (line,) = [line for line in text(plan, paces, root, 1, 1.0) if line.startswith("time: ")]
    return line


def test_an_estimate_is_from_the_least_to_the_most(tmp_path):
    for least in range(10, 30):
        assert f"about {10 + least} s to {50 + least} s;" in estimate(tmp_path, least, least + 40)
    assert "about 60 s to 168 min;" in estimate(tmp_path, 50, 10_050)
    assert "about 30 s;" in estimate(tmp_path, 20, 20)
