"""Exact trajectories with real processes: shared while they run, killed, and started again."""

import subprocess
import sys

import pytest
from conftest import ROOT, clean_environment

from epochwise.common.files import read_json


@pytest.mark.slow
@pytest.mark.parametrize("lasts", [(6, 3), pytest.param((2, 8, 4, 6), marks=pytest.mark.long)])
def test_processes_at_once_share_one_trajectory(project, lasts):
    commands = [["epochwise", "run", f"train.epochs={last}", f"hydra.run.dir=outputs/at once/{last}"] for last in lasts]
    processes = [subprocess.Popen(command, env=clean_environment(), stdout=subprocess.PIPE) for command in commands]
    for process in processes:
        process.communicate(timeout=300)
    assert [process.returncode for process in processes] == [0] * len(lasts)
    epochs = ",".join(map(str, lasts))
    alone = ("train.reuse=false", "sweep.rerun=true", "hydra.sweep.dir=multirun/alone")
    project.ok("epochwise", "run", "-m", f"train.epochs={epochs}", *alone)
    trained = 0
    for number, last in enumerate(lasts):
        shared, alone = project.path / "outputs/at once" / str(last), project.path / "multirun/alone" / str(number)
        for name in ("history.csv", "model.keras", "metrics.json"):
            assert (shared / name).read_bytes() == (alone / name).read_bytes(), (last, name)
        trained += read_json(shared / "run.json")["epochs_trained"]
    assert trained == max(lasts)


@pytest.mark.long
def test_killed_at_random_moments_the_same_command_ends_the_same():
    """Two of the twenty kills of docs/results.md, on the bundled digits."""
    command = [sys.executable, "benchmarks/kills.py", "epochwise", "--kills", "2", "--source", "digits"]
    done = subprocess.run(command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "a second time the same to the bit: True" in lines[0]
    assert lines[-1] == (
        "of 2 kills: ended 2, same model.keras 2, same history.csv 2, finished epochs trained again 0, "
        "MLflow 1 FINISHED + 1 KILLED 2"
    )


@pytest.mark.long
def test_sweeps_under_faults_and_the_same_command_again_end_the_same():
    command = [sys.executable, "benchmarks/chaos.py", "--rounds", "5"]
    done = subprocess.run(command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == (
        "of 5 rounds: ended 5, same rows 5, same bytes 5, one FINISHED run each 5, whole in MLflow 5, left RUNNING 0, "
        "finished epochs trained again 0"
    )
