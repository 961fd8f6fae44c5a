"""Sweeps on a SLURM cluster: the same bits as on one machine, each epoch once, with or without the command."""

import json
import signal
import subprocess

import pytest
from cluster_nodes import (
    EPOCHS,
    GRID,
    RUNS,
    epochs_trained,
    need,
    other_cpuinfo,
    slurm_nodes,
    states,
    strangers,
    weights,
)
from conftest import clean_environment, copy_project, wait_for

SWEEP = ("epochwise", "run", "-m", "hydra/launcher=slurm", "tracking=off", *GRID)
LONG = (*SWEEP[:5], "train.epochs=20,40", "seed=0,1")


def statuses(project) -> list[str]:
    return [json.loads(path.read_text())["status"] for path in project.path.glob("multirun/*/*/*/run.json")]


@pytest.mark.slow
def test_slurm_a_grid_is_to_the_bit_what_it_is_on_one_machine(project, tmp_path):
    need("slurm")
    alone = copy_project(tmp_path / "alone")
    alone.ok("epochwise", "run", "-m", "tracking=off", *GRID)
    with slurm_nodes(2) as nodes:
        assert strangers(nodes.pids()) == []
        refused = project.run(*SWEEP[:4], *GRID, **nodes.environment)
        printed = project.ok(*SWEEP, **nodes.environment)
        again = project.ok(*SWEEP, **nodes.environment)
    assert weights(project) == weights(alone) and len(weights(alone)) == RUNS
    assert epochs_trained(project) == states(project) == EPOCHS
    assert "submitted SLURM array " in printed and printed.count("done: ") == RUNS
    assert "already finished" in again and "submitted" not in again
    assert refused.returncode == 2 and refused.stderr.startswith("error: mlflow.db is for the runs of one host")


@pytest.mark.long
def test_slurm_a_sweep_outlives_its_command_which_attaches_again(project):
    with slurm_nodes(2) as nodes:
        environment = clean_environment() | nodes.environment
        process = subprocess.Popen(LONG, stdout=subprocess.PIPE, text=True, env=environment, cwd=project.path)
        wait_for(lambda: states(project) > 3, "some epochs")
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=60)
        assert process.returncode == 130 and "goes on without this command" in printed
        before = states(project)
        wait_for(lambda: states(project) > before, "more epochs")
        attached = project.ok(*LONG, **nodes.environment)
    assert "going on with SLURM array" in attached and "submitted" not in attached
    assert statuses(project) == ["FINISHED"] * RUNS and states(project) == 80


@pytest.mark.long
def test_slurm_a_node_that_dies_costs_one_attempt_and_nothing_else(project, tmp_path):
    alone = copy_project(tmp_path / "alone")
    alone.ok(*LONG[:3], "tracking=off", *LONG[5:])
    with slurm_nodes(2) as nodes:
        environment = clean_environment() | nodes.environment
        process = subprocess.Popen(LONG, stdout=subprocess.PIPE, text=True, env=environment, cwd=project.path)
        wait_for(lambda: states(project) > 3, "some epochs")
        nodes.kill_node("n1")
        printed, _ = process.communicate(timeout=900)
    assert process.returncode == 0, printed
    assert weights(project) == weights(alone)
    assert statuses(project) == ["FINISHED"] * RUNS


@pytest.mark.long
def test_slurm_says_why_an_element_failed(project):
    with slurm_nodes(1) as nodes:
        environment = clean_environment() | nodes.environment
        process = subprocess.Popen(LONG, stdout=subprocess.PIPE, text=True, env=environment, cwd=project.path)
        wait_for(lambda: states(project) > 1, "some epochs")
        nodes.call("scancel", "--name", nodes.call("squeue", "-h", "-o", "%j").split()[0])
        printed, _ = process.communicate(timeout=120)
        assert process.returncode == 1
        assert "ended before the run did (CANCELLED), see multirun/" in printed
        refused = project.run(*LONG[:-1], "seed=7,8", "hydra.launcher.partition=nowhere", **nodes.environment)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1) and "error: srun: " in refused.stderr
    assert "invalid partition" in refused.stderr.lower()


@pytest.mark.long
def test_slurm_a_node_with_another_processor_is_refused_by_name_or_mixed(project, tmp_path):
    """Needs root, to give a node another /proc/cpuinfo."""
    with slurm_nodes(2, other_cpuinfo(tmp_path)) as nodes:
        refused = project.run(*SWEEP, **nodes.environment)
        mixed = project.ok(*SWEEP, "seed=7", "sweep.mixed=true", **nodes.environment)
        again = project.ok(*SWEEP, "seed=7", "sweep.mixed=true", **nodes.environment)
    assert refused.returncode == 1 and "node n2 has another processor (model name: Zilog Z80, not" in refused.stdout
    assert mixed.count("done: ") == RUNS
    assert "mixed: the runs are of 2 kinds of processors (2 runs on" in mixed and "2 runs on Zilog Z80)" in mixed
    assert "already finished" in again and "done: " not in again
    assert len(weights(project)) == RUNS + 2, "and those of the sweep that was refused on one node"


def test_without_slurm_installed_the_launcher_says_so(project, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    done = project.cli(*SWEEP[1:])
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "hydra/launcher=slurm needs SLURM's commands: srun is not installed here" in done.stderr
