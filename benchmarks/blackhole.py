"""A quick run of three epochs whose tracking server swallows packets, and the same without tracking.

    python benchmarks/blackhole.py [--rounds 3]

The server is a socket whose queue is full, so that a connection is never made: what a firewall does that drops.
"""

import argparse
import contextlib
import os
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

COMMAND = ["epochwise", "run", "experiment=quick", "train.epochs=3", "train.reuse=false"]


@contextlib.contextmanager
def blackhole() -> Iterator[str]:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(8):  # these fill the queue
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def seconds(clone: Path, uri: str, *more: str) -> float:
    environment = os.environ | {"PYTHONPATH": str(clone / "src"), "MLFLOW_TRACKING_URI": uri}
    started = time.monotonic()
    done = subprocess.run([*COMMAND, *more], cwd=clone, env=environment, capture_output=True, text=True, check=True)
    took = time.monotonic() - started
    warned = done.stderr.count("warning: MLflow")
    assert warned == (not more), done.stderr
    return took


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder, blackhole() as uri:
        clone = Path(folder)
        subprocess.run(["git", "clone", "--quiet", ".", clone], check=True)
        seconds(clone, "", "tracking=off")  # prepares the data, and warms the disk's cache up
        longer = []
        for number in range(1, rounds + 1):
            without, held_up = seconds(clone, "", "tracking=off"), seconds(clone, uri)
            longer.append(held_up - without)
            print(f"{number}: {without:.1f} s without tracking, {held_up:.1f} s with the blackhole", flush=True)
    each = ", ".join(f"{value:.1f}" for value in longer)
    print(f"longer by {statistics.median(longer):.1f} s (median of n={len(longer)}: {each})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    main(**vars(parser.parse_args()))
