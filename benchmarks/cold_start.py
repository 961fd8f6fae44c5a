"""Processes that start at once where there is no database yet: is every run in MLflow, whole, in its experiment?

    python benchmarks/cold_start.py [--times 20] [--processes 8]

Each time a fresh clone, and a run of one epoch on the digits for each process. MLflow alone breaks its database then,
or logs into its Default experiment.
"""

import argparse
import os
import subprocess
import tempfile
from pathlib import Path

from chaos import RESULTS, digests, whole


def once(processes: int) -> int:
    """How many of the runs are right."""
    import mlflow

    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder)
        subprocess.run(["git", "clone", "--quiet", ".", clone], check=True)
        code = os.environ | {"PYTHONPATH": str(clone / "src"), "MLFLOW_TRACKING_URI": ""}
        grid = ["prepare.source=digits", "prepare.validation_size=300", "model.dense_dropout=0.5", "train.epochs=1"]
        started = []
        for seed in range(processes):
            where = f"hydra.run.dir=outputs/cold/{seed}"
            command = ["epochwise", "run", *grid, f"seed={seed}", "train.threads=1", where]
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
            started.append(subprocess.Popen(command, cwd=clone, env=code, **quiet))
        ended = set()
        for seed, process in enumerate(started):
            errors = process.communicate()[1]
            if process.returncode or "warning" in errors:
                print(errors)
            else:
                ended.add(str(seed))
        mlflow.set_tracking_uri(f"sqlite:///{clone / 'mlflow.db'}")
        client = mlflow.MlflowClient()
        experiments = {found.name: found.experiment_id for found in client.search_experiments()}
        runs = client.search_runs(list(experiments.values()))
        right = set()
        for run in runs:
            seed = run.data.params["seed"]
            results = {"epochs=1 dense_dropout=0.5": digests(clone / "outputs/cold" / seed, RESULTS)}
            if run.info.experiment_id == experiments["epochwise"] and whole(client, run, results):
                right.add(seed)
        return len(right & ended) if len(runs) == processes else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--processes", type=int, default=8)
    given = parser.parse_args()
    total = 0
    for number in range(1, given.times + 1):
        right = once(given.processes)
        total += right
        print(f"{number}: {right} of {given.processes} right", flush=True)
    print(f"{total} of {given.times * given.processes} runs right")
