"""MLflow's server with passwords on PostgreSQL under synthetic runs: requests a second, p95, errors.

    python benchmarks/server_load.py [--clients 1 2 4 8] [--seconds 20]

Each client makes one run after the other as a training does: create it, log parameters, metrics of epochs and tags, end
it. Server, database and clients share this machine; all listen on 127.0.0.1.
"""

import argparse
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
import requests

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from cluster_nodes import USERS, TeamServer, postgres

EPOCHS = 3  # requests with metrics of a run


class Client(threading.Thread):
    """One user's training after the other, until `until` (by time.monotonic)."""

    def __init__(self, address: str, name: str, experiment: str, until: float) -> None:
        super().__init__()
        self.api, self.experiment, self.until = f"{address}/api/2.0/mlflow", experiment, until
        self.session = requests.Session()
        self.session.auth = (name, USERS[name])
        self.seconds: list[float] = []
        self.errors: list[str] = []

    def run(self) -> None:
        while time.monotonic() < self.until:
            self.train()

    def train(self) -> None:
        now = int(time.time() * 1000)
        made = self.call("runs/create", experiment_id=self.experiment, start_time=now, run_name="load")
        if not made:
            return
        run_id = made["run"]["info"]["run_id"]
        self.call("runs/log-batch", run_id=run_id, params=[{"key": f"p{n}", "value": "1"} for n in range(20)])
        for epoch in range(1, EPOCHS + 1):
            names = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")
            metrics = [{"key": name, "value": 0.5, "timestamp": now, "step": epoch} for name in names]
            self.call("runs/log-batch", run_id=run_id, metrics=metrics)
        self.call("runs/log-batch", run_id=run_id, tags=[{"key": f"t{n}", "value": "1"} for n in range(10)])
        self.call("runs/update", run_id=run_id, status="FINISHED", end_time=now)

    def call(self, path: str, **body: object) -> dict:
        started = time.monotonic()
        try:
            answer = self.session.post(f"{self.api}/{path}", json=body, timeout=60)
            answer.raise_for_status()
            return answer.json()
        except requests.RequestException as error:
            self.errors.append(str(error))
            return {}
        finally:
            self.seconds.append(time.monotonic() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--seconds", type=float, default=20)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, postgres() as database:
        server = TeamServer(Path(scratch), database.address)
        server.start()
        try:
            auth = ("anna", USERS["anna"])
            made = requests.post(
                f"{server.address}/api/2.0/mlflow/experiments/create", json={"name": "load"}, auth=auth, timeout=60
            )
            for count in chosen.clients:
                until = time.monotonic() + chosen.seconds
                clients = [Client(server.address, "anna", made.json()["experiment_id"], until) for _ in range(count)]
                started = time.monotonic()
                for client in clients:
                    client.start()
                for client in clients:
                    client.join()
                seconds = sorted(second for client in clients for second in client.seconds)
                errors = [error for client in clients for error in client.errors]
                p95 = statistics.quantiles(seconds, n=20)[-1]
                rate = len(seconds) / (time.monotonic() - started)
                print(
                    f"{count} clients: {rate:.1f} requests a second, median {statistics.median(seconds):.2f} s, "
                    f"p95 {p95:.2f} s, {len(errors)} errors of {len(seconds)}",
                    *errors[:1],
                    flush=True,
                )
        finally:
            server.stop()


if __name__ == "__main__":
    try:
        main()
    except pytest.fail.Exception as error:
        sys.exit(str(error))
