"""`epochwise ui`: MLflow's pages for the store that runs are logged to, on a free port, with the links to the runs."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from epochwise.common.errors import InputError, RunError
from epochwise.common.paths import main_root
from epochwise.config.compose import load
from epochwise.tracking.address import (
    check_address,
    database_file,
    is_local,
    is_remote,
    server_name,
    store_exists,
    tracking_uri,
)
from epochwise.tracking.database import experiment_ids
from epochwise.tracking.server import LOCAL_PORT, Server, summary_experiment

HOST = "127.0.0.1"
PORTS = range(LOCAL_PORT, LOCAL_PORT + 20)  # the first free one is taken
START_TIMEOUT, STOP_TIMEOUT = 120.0, 3.0  # seconds
# The light server: `mlflow ui` alone starts 15 processes for jobs that nothing here uses.
ENVIRONMENT = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


def ui(port: int | None) -> None:
    """Serve MLflow's pages until Ctrl-C, and print the links to the runs and to the sweeps.

    Raises InputError if there are no runs yet, or if `port` is not free; without a port the first free one is taken.
    """
    check_address()
    root = main_root()
    if is_remote(root):
        print(f"MLFLOW_TRACKING_URI names a server, whose pages are at {server_name(root)}")
        return
    of_store = "" if is_local(root) else f" in {server_name(root)}"
    if not store_exists(root):
        raise InputError(f"no runs to show yet{of_store}: `epochwise run` or `make repro` makes one")
    chosen = _free_port(port)
    print(f"starting MLflow's server{of_store and f' for the runs{of_store}'}", flush=True)
    with _server(tracking_uri(root), chosen) as server:
        try:
            if _answers(server, chosen):
                _print_links(chosen)
            server.wait()
        except KeyboardInterrupt:
            print()


def _free_port(wanted: int | None) -> int:
    for port in [wanted] if wanted else PORTS:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that was just stopped is free
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        if wanted is None and port != LOCAL_PORT:
            print(f"port {LOCAL_PORT} is taken by another program, so links that were printed before lead there")
        return port
    tried = str(wanted) if wanted else f"{PORTS[0]} to {PORTS[-1]}"
    raise InputError(f"port {tried}: taken by other programs; name a free one by --port")


@contextmanager
def _server(uri: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """MLflow's server in a session of its own, so that Ctrl-C reaches this process alone, which then ends it."""
    options = ["--workers", "1", "--host", HOST, "--port", str(port)]
    with tempfile.TemporaryFile() as log:
        command = [sys.executable, "-m", "mlflow", "server", *options]
        # As a variable, since the address of a database can hold a password, and all users can see a process's options.
        environment = ENVIRONMENT | os.environ | {"MLFLOW_BACKEND_STORE_URI": uri}
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            yield server
            if server.returncode:
                log.seek(0)
                last = log.read().decode(errors="replace").strip().splitlines()[-1:]
                raise RunError(f"MLflow's server ended with {server.returncode}: {''.join(last)}")
        finally:
            _stop(server)


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End the server and its worker, which otherwise waits for browsers to close their connections."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        with suppress(subprocess.TimeoutExpired):
            server.wait(STOP_TIMEOUT)


def _answers(server: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until the server answers; False if it ends instead. Raises RunError if it does neither."""
    deadline = time.monotonic() + START_TIMEOUT
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://{HOST}:{port}/health", timeout=1):
                return True
        except OSError:
            time.sleep(0.1)
    if server.poll() is None:
        raise RunError(f"MLflow's server does not answer within {START_TIMEOUT:.0f} s")
    return False


def _print_links(port: int) -> None:
    ids, name = _experiment_ids(), load([]).tracking.experiment
    for title, experiment in (("runs", name), ("sweeps", summary_experiment(name))):
        if experiment in ids:
            page = f"http://{HOST}:{port}/#/experiments/{ids[experiment]}/runs?workflowType=machine_learning"
            print(f"{title:<7}{page}")
    print("MLflow's own front page opens in its part for GenAI; `Model training` on it leads to the same runs")
    print("Ctrl-C stops the server", flush=True)


def _experiment_ids() -> dict[str, str]:
    """The ids of the experiments in the store, by name."""
    database = database_file(tracking_uri(main_root()))
    if database:
        return experiment_ids(database)
    return {found.name: found.experiment_id for found in Server(main_root()).client.search_experiments()}
