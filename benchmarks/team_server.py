"""What MLflow costs a whole run: without it, and with a team's server, which has passwords and PostgreSQL.

    python benchmarks/team_server.py [--rounds 3] [--hash-each]

Each round runs all ways one after the other, in a clone, with `epochwise run`; ratios are of one round. Server,
database and run share this machine, so that what the server computes is missing to the training. With --hash-each
there is one way more: a server without `auth_cache_ttl_seconds`, which hashes the password for each request, as it is
by default. MNIST is fetched once.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from cluster_nodes import TeamServer, postgres
from conftest import ROOT, clean_environment

RUNS = {
    "quick": ("experiment=quick",),
    "MNIST, 6,000 images, 4 epochs": ("train.epochs=4", "prepare.train_size=6000"),
}
OFF, CACHED, HASHED = "without MLflow", "with MLflow", "with MLflow that hashes for each request"


def once(folder: Path, overrides: tuple[str, ...], server: TeamServer | None) -> tuple[float, int]:
    """How many seconds a run takes, and how many requests it makes."""
    before = len(server.requests()) if server else 0
    # Each server has its own list of users, and of whose an experiment in the common database is.
    tracked = f"tracking.experiment=of-{server.port}" if server else "tracking=off"
    environment = server.as_user("anna") if server else {}
    command = ["epochwise", "run", *overrides, tracked, "train.reuse=false"]
    started = time.monotonic()
    done = subprocess.run(command, cwd=folder, env=clean_environment() | environment, capture_output=True, text=True)
    seconds = time.monotonic() - started
    if done.returncode or "warning" in done.stderr:
        raise SystemExit(f"{' '.join(command)}:\n{done.stdout}\n{done.stderr[-3000:]}")
    return seconds, len(server.requests()) - before if server else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--hash-each", action="store_true")
    chosen = parser.parse_args()
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        address = stack.enter_context(postgres()).address
        servers: dict[str, TeamServer | None] = {OFF: None}
        for way in (CACHED, HASHED)[: 1 + chosen.hash_each]:
            (scratch / way).mkdir()
            servers[way] = server = TeamServer(scratch / way, address)
            if way == HASHED:
                settings = scratch / way / "auth.ini"
                settings.write_text(settings.read_text().replace("auth_cache_ttl_seconds = 60", ""))
            server.start()
            stack.callback(server.stop)
        clone = scratch / "clone"
        subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
        for name, overrides in RUNS.items():
            for server in servers.values():  # so that data is prepared, and the experiment is there
                once(clone, overrides, server)
            found: dict[str, list[tuple[float, int]]] = {way: [] for way in servers}
            for number in range(chosen.rounds):
                ways = [*servers][number % len(servers) :] + [*servers][: number % len(servers)]
                for way in ways:
                    found[way].append(once(clone, overrides, servers[way]))
            for way, measured in found.items():
                ratios = [one / off for (one, _), (off, _) in zip(measured, found[OFF], strict=True)]
                print(
                    f"{name}, {way}: {statistics.median(seconds for seconds, _ in measured):.1f} s, "
                    f"{statistics.median(ratios):.2f} ({', '.join(f'{ratio:.2f}' for ratio in ratios)}), "
                    f"{max(requests for _, requests in measured)} requests",
                    flush=True,
                )


if __name__ == "__main__":
    try:
        main()
    except pytest.fail.Exception as error:
        sys.exit(str(error))
