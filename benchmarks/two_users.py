"""Two users in two clones run the same 18 jobs at once against MLflow's server with passwords on PostgreSQL.

    python benchmarks/two_users.py [--source mnist|digits]

The grid is the 18 jobs of the write-up on 2,000 images of MNIST, or of scikit-learn's digits. A run is right if it has
the weights of a sweep without a server, and if the server has it, finished, with a value of each metric for each epoch
and with its model. Everything listens on 127.0.0.1. Needs what tests/clusters/test_postgres.py needs.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from cluster_kills import GRIDS, SOURCES
from cluster_nodes import USERS, TeamServer, epochs_trained, postgres, weights
from conftest import Project, clean_environment

EACH_EPOCH = ("loss", "accuracy", "val_loss", "val_accuracy")


def clone_to(folder: Path) -> Project:
    subprocess.run(["git", "clone", "--quiet", str(Path(__file__).resolve().parent.parent), folder], check=True)
    return Project(folder)


def on_server(server: TeamServer, user: str, project: Project) -> int:
    """How many of the project's runs the server has with the metrics of each epoch, so that nothing is left to log."""
    from mlflow import MlflowClient

    client = MlflowClient(server.address)
    (experiment,) = client.search_experiments(filter_string=f"name = 'of-{user}'")
    finished = client.search_runs([experiment.experiment_id], "attributes.status = 'FINISHED'")
    with_epochs = 0
    for run in finished:
        steps = [[one.step for one in client.get_metric_history(run.info.run_id, name)] for name in EACH_EPOCH]
        with_epochs += all(found == [*range(1, int(run.data.params["train.epochs"]) + 1)] for found in steps)
    published = project.ok("epochwise", "publish", **server.as_user(user))
    return min(with_epochs, len(finished), published.count("up to date in MLflow as "))


def main(source: str) -> None:
    with tempfile.TemporaryDirectory() as scratch, postgres() as database:
        alone = clone_to(Path(scratch) / "alone")
        command = ("epochwise", "run", "-m", *GRIDS["mnist"], *SOURCES[source])
        started = time.monotonic()
        alone.ok(*command, "tracking=off")
        expected = weights(alone)
        print(f"without a server: {len(expected)} runs, {time.monotonic() - started:.0f} s", flush=True)
        server = TeamServer(Path(scratch), database.address)
        server.start()
        try:
            users = {user: clone_to(Path(scratch) / user) for user in USERS}
            started = time.monotonic()
            options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
            processes = {
                user: subprocess.Popen(
                    [*command, f"tracking.experiment=of-{user}"],
                    cwd=project.path,
                    env=clean_environment() | server.as_user(user),
                    **options,
                )
                for user, project in users.items()
            }
            printed = {user: process.communicate()[0] for user, process in processes.items()}
            print(f"both users: {time.monotonic() - started:.0f} s, {len(server.requests())} requests", flush=True)
            for user, project in users.items():
                os.environ.update(server.as_user(user))
                if processes[user].returncode:
                    print(printed[user])
                found = weights(project)
                equal = sum(found.get(key) == value for key, value in expected.items())
                print(
                    f"{user}: exit {processes[user].returncode}, {equal} of {len(expected)} runs with equal weights, "
                    f"{on_server(server, user, project)} whole on the server, {epochs_trained(project)} epochs trained",
                    flush=True,
                )
        finally:
            server.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", choices=SOURCES, default="mnist")
    try:
        main(**vars(parser.parse_args()))
    except pytest.fail.Exception as error:
        sys.exit(str(error))
