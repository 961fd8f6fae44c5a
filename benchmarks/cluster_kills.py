"""A sweep on a Ray or SLURM cluster on this host, and a node or the command killed at a random epoch: is all right?

    python benchmarks/cluster_kills.py ray|slurm [--rounds 10] [--seed 0] [--source digits|mnist]
                                       [--faults none,node,parent]

The grid is the 18 jobs of the write-up on 2,000 images of MNIST, or six jobs on digits. Each round is right if every
job is finished with the weights of a sweep on one machine, after the same command was typed again if it was killed.
Works in a clone; everything listens on 127.0.0.1. Needs what the tests in tests/clusters need.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from cluster_nodes import RayNodes, SlurmNodes, epochs_trained, ray_nodes, slurm_nodes, states, weights
from conftest import Project, clean_environment

GRIDS = {
    "mnist": ("train.epochs=2,4,6,8,10,12", "model.dense_dropout=0.25,0.5,0.75"),
    "digits": ("train.epochs=4,8,12", "model.dense_dropout=0.25,0.5"),
}
SOURCES = {
    "mnist": ("prepare.source=mnist", "prepare.train_size=2000", "prepare.validation_size=1000", "train.threads=1"),
    "digits": ("prepare.source=digits", "prepare.validation_size=300", "train.threads=1"),
}
NODES = 3
LONGEST = 3600  # seconds of a sweep, on a busy machine


@contextlib.contextmanager
def cluster(engine: str) -> Iterator[RayNodes | SlurmNodes]:
    """A fresh cluster: killed nodes do not come back."""
    with (
        pytest.MonkeyPatch.context() as patched,
        ray_nodes(NODES, patched) if engine == "ray" else slurm_nodes(NODES) as nodes,
    ):
        yield nodes


def forget(clone: Path) -> None:
    for name in ("multirun", "trajectories", ".epochwise"):
        shutil.rmtree(clone / name, ignore_errors=True)


def attempt(
    project: Project, nodes: RayNodes | SlurmNodes, command: list[str], fault: str, kept: int, node: int
) -> str:
    """Run the command, do the fault once `kept` states are there, type it again if it was killed; returns what it said.

    `node` is the number of the node that is killed.
    """
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "cwd": project.path}
    process = subprocess.Popen(command, env=clean_environment() | nodes.environment, **options)
    while fault != "none" and process.poll() is None and states(project) < kept:
        time.sleep(0.05)
    in_time = process.poll() is None
    if fault == "parent" and in_time:
        os.kill(process.pid, signal.SIGKILL)
    elif fault == "node" and in_time:
        nodes.kill(nodes.nodes[node]) if isinstance(nodes, RayNodes) else nodes.kill_node(nodes.names[node])
    said, _ = process.communicate(timeout=LONGEST)
    if fault != "none" and not in_time:
        print("the sweep had ended before the fault", flush=True)
    if process.returncode:
        again = project.run(*command, within=LONGEST, **nodes.environment)
        said += again.stdout + again.stderr
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", choices=("ray", "slurm"))
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--source", choices=SOURCES, default="digits")
    parser.add_argument("--faults", default="node,parent")
    chosen = parser.parse_args()
    draw, faults = random.Random(chosen.seed), chosen.faults.split(",")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        clone = Path(scratch) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(Path(__file__).resolve().parent.parent), clone], check=True)
        project = Project(clone)
        grid = [*GRIDS[chosen.source], *SOURCES[chosen.source], "tracking=off"]
        started = time.monotonic()
        done = project.run("epochwise", "run", "-m", *grid, within=LONGEST)
        if done.returncode:
            sys.exit(f"the sweep on one machine failed:\n{done.stdout}{done.stderr}")
        alone, expected, least = time.monotonic() - started, weights(project), epochs_trained(project)
        print(f"one machine: {len(expected)} jobs, {least} epochs, {alone:.0f} s", flush=True)
        right = 0
        for number in range(chosen.rounds):
            forget(clone)
            fault, kept = faults[number % len(faults)], draw.randrange(1, least)
            with cluster(chosen.engine) as nodes:
                started = time.monotonic()
                command = ["epochwise", "run", "-m", f"hydra/launcher={chosen.engine}", *grid]
                said = attempt(project, nodes, command, fault, kept, draw.randrange(NODES))
                seconds = time.monotonic() - started
            found = weights(project)
            good = found == expected and states(project) >= least
            right += good
            at = "" if fault == "none" else f" after {kept} of {least} epochs"
            print(
                f"round {number + 1}: {fault}{at}: {'right' if good else 'WRONG'}, {len(found)} jobs with "
                f"{sum(found.get(key) == value for key, value in expected.items())} of {len(expected)} equal weights, "
                f"{states(project)} states, lost {said.count('lost: ')}, {seconds:.0f} s",
                flush=True,
            )
            if not good:
                print(said)
        print(f"{chosen.engine}, {chosen.source}: {right} of {chosen.rounds} right")


if __name__ == "__main__":
    main()
