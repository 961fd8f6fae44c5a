"""Successive halving with real trainings: the winner is the run alone, and a kill -9 changes nothing."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import Project, clean_environment, wait_for

from epochwise.common.files import read_json
from epochwise.sweeps.directory import known_sweeps

SETTINGS = ("model.dense_dropout=0.1,0.3,0.5", "train.learning_rate=0.0005,0.002")
HALVING = ("epochwise", "run", "-m", "hydra/sweeper=halving", "tracking=off", "train.epochs=1,2,4", *SETTINGS)
RESULTS = ("train.epochs", "model.dense_dropout", "train.learning_rate", "val_accuracy", "val_loss", "dropped_at")


def rows(project: Project) -> list[dict]:
    return read_json(known_sweeps(project.path)[0].folder / "leaderboard.json")["rows"]


def results(project: Project) -> list[dict]:
    """The leaderboard without what differs between equal runs."""
    return [{key: row[key] for key in RESULTS} for row in rows(project)]


def states(project: Project) -> dict[Path, int]:
    """The inode of each kept state. An epoch that is trained again writes its state again, as a new file."""
    return {
        path.relative_to(project.path): path.stat().st_ino for path in project.path.glob("trajectories/*/[0-9]*.npz")
    }


def records(project: Project) -> list[dict]:
    return [json.loads(path.read_text()) for path in project.path.glob("multirun/*/*/*/run.json")]


@pytest.mark.long
def test_a_killed_search_ends_as_an_unbroken_one_with_other_workers(project, tmp_path):
    unbroken = Project(shutil.copytree(project.path, tmp_path / "unbroken", symlinks=True))
    printed = unbroken.ok(*HALVING)
    assert "after 1 epoch: 2 of 6 settings went on" in printed
    assert sum(record["epochs_trained"] for record in records(unbroken)) == len(states(unbroken))

    two_workers = (*HALVING, "hydra/launcher=parallel", "hydra.launcher.n_jobs=2", "train.threads=1")
    child = subprocess.Popen(
        two_workers, cwd=project.path, env=clean_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_for(lambda: list(project.path.glob("multirun/*/*/*/metrics.json")), "a first finished run", 1200)
    child.kill()
    child.wait()
    before = states(project)
    project.ok(*two_workers)
    after = states(project)
    assert all(after[path] == inode for path, inode in before.items()), "no epoch is trained twice"
    assert results(project) == results(unbroken)

    first = rows(project)[0]
    typed = [f"{key}={first[key]}" for key in RESULTS[:3]]
    project.ok("epochwise", "run", *typed, "tracking=off", "train.reuse=false")
    (alone,) = [json.loads(path.read_text()) for path in project.path.glob("outputs/*/*/run.json")]
    (winner,) = [record for record in records(project) if record["run_id"] == first["runs"][0]]
    assert alone["weights_sha256"] == winner["weights_sha256"]

    printed = project.ok("epochwise", "run", "-m", "tracking=off", "train.threads=1", "train.epochs=4", *SETTINGS)
    assert "of the grid's 24 epochs" in printed
    assert len(states(project)) == 24 and all(states(project)[path] == inode for path, inode in after.items())
