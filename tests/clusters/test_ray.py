"""Sweeps on a Ray cluster: the same bits as on one machine, each epoch once, and nothing lost with a node."""

import os
import re
import signal
import subprocess
import sys

import pytest
from cluster_nodes import (
    EPOCHS,
    GRID,
    RUNS,
    descendants,
    epochs_trained,
    need,
    other_cpuinfo,
    ray_nodes,
    states,
    strangers,
    weights,
)
from conftest import clean_environment, copy_project, wait_for

SWEEP = ("epochwise", "run", "-m", "hydra/launcher=ray", *GRID)
LONG = ("epochwise", "run", "-m", "hydra/launcher=ray", "tracking=off", "train.epochs=20,40", "seed=0,1")


def statuses(project) -> list[str]:
    import json

    return [json.loads(path.read_text())["status"] for path in project.path.glob("multirun/*/*/*/run.json")]


@pytest.mark.slow
def test_ray_a_grid_is_to_the_bit_what_it_is_on_one_machine(project, tmp_path, monkeypatch):
    need("ray")
    alone = copy_project(tmp_path / "alone")
    alone.ok("epochwise", "run", "-m", "tracking=off", *GRID)
    with ray_nodes(2, monkeypatch) as nodes:
        assert strangers(descendants(os.getpid())) == []
        printed = project.ok(*SWEEP, **nodes.environment)
        again = project.ok(*SWEEP, **nodes.environment)
    assert weights(project) == weights(alone) and len(weights(alone)) == RUNS
    assert epochs_trained(project) == states(project) == EPOCHS
    assert f"{RUNS} runs on 2 workers: {EPOCHS} epochs to train" in printed
    assert "already finished" in again and "continuing sweep" in again


@pytest.mark.long
def test_ray_a_node_that_dies_costs_one_attempt_and_nothing_else(project, tmp_path, monkeypatch):
    alone = copy_project(tmp_path / "alone")
    command = [*LONG[:3], "tracking=off", *LONG[5:]]
    alone.ok(*command)
    with ray_nodes(2, monkeypatch) as nodes:
        environment = clean_environment() | nodes.environment
        process = subprocess.Popen(LONG, stdout=subprocess.PIPE, text=True, env=environment, cwd=project.path)
        wait_for(lambda: states(project) > 5, "some epochs")
        nodes.kill(nodes.nodes[0])
        printed, _ = process.communicate(timeout=600)
    assert process.returncode == 0, printed
    assert printed.count("lost: ") == 1 and "it runs again (1 of 3)" in printed
    assert weights(project) == weights(alone)
    assert statuses(project) == ["FINISHED"] * RUNS
    assert states(project) in (80, 81), "the epoch in which the node died may be there twice"


@pytest.mark.long
def test_ray_a_command_that_is_killed_is_ended_right_by_the_same_command(project, monkeypatch):
    with ray_nodes(2, monkeypatch) as nodes:
        environment = clean_environment() | nodes.environment
        process = subprocess.Popen(LONG, stdout=subprocess.DEVNULL, env=environment, cwd=project.path)
        wait_for(lambda: states(project) > 5, "some epochs")
        process.send_signal(signal.SIGKILL)
        process.wait()
        project.ok(*LONG, **nodes.environment)
    assert statuses(project) == ["FINISHED"] * RUNS


@pytest.mark.long
def test_ray_ctrl_c_ends_the_runs_as_killed(project, monkeypatch):
    with ray_nodes(1, monkeypatch) as nodes:
        environment = clean_environment() | nodes.environment
        process = subprocess.Popen(LONG, stdout=subprocess.DEVNULL, env=environment, cwd=project.path)
        wait_for(lambda: states(project) > 2, "some epochs")
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 130
        assert statuses(project) == ["KILLED"]


@pytest.mark.long
def test_ray_a_node_with_another_processor_is_refused_by_name_or_mixed(project, tmp_path, monkeypatch):
    """Needs root, to give a node another /proc/cpuinfo."""
    with ray_nodes(1, monkeypatch) as nodes:
        other = nodes.add_other(other_cpuinfo(tmp_path))
        try:
            refused = project.run(*SWEEP, "tracking=off", **nodes.environment)
            mixed = project.ok(*SWEEP, "tracking=off", "sweep.mixed=true", **nodes.environment)
        finally:
            other.terminate()
            other.wait()
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    # Of two nodes either may be the one with which the other is compared.
    assert re.search(r"(other has another .*: Zilog Z80, not|n1 has another .*, not Zilog Z80\))", refused.stderr)
    assert mixed.count("done: ") == RUNS and len(weights(project)) == RUNS
    assert "mixed: the runs are of 2 kinds of processors (" in mixed and "on Zilog Z80" in mixed


@pytest.mark.long
@pytest.mark.parametrize(
    "address, reason",
    [("127.0.0.1:9", "no Ray cluster answers (RAY_ADDRESS=127.0.0.1:9)"), ("ray://a:1", "name HOST:PORT of the clus")],
)
def test_ray_no_cluster_is_one_line(project, address, reason):
    need("ray")
    done = project.run(*SWEEP, RAY_ADDRESS=address)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert reason in done.stderr


def test_without_ray_installed_the_launcher_says_how_to_get_it(project, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    done = project.cli(*SWEEP[1:])
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "hydra/launcher=ray needs Ray: pip install 'epochwise[ray]'" in done.stderr
