"""Memory of one worker over many jobs: resident set after each tenth job, in MB.

    python benchmarks/memory.py [--jobs 50] [--source mnist|digits]

A sweep over seeds in a clone of the project, one epoch each on 2,000 images (digits: 1,200), none of it shared.
"""

import argparse
import os
import re
import subprocess
import tempfile
from pathlib import Path

from chaos import SOURCES, clone_to, workers


def resident(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1e3


def main(clone: Path, jobs: int, source: str) -> None:
    command = ["epochwise", "run", "-m", f"seed=range({jobs})", "train.epochs=1", "train.reuse=false", *SOURCES[source]]
    code = os.environ | {"PYTHONPATH": str(clone / "src")}
    sweep = subprocess.Popen(command, cwd=clone, env=code, stdout=subprocess.PIPE, text=True)
    done = 0
    for line in sweep.stdout:
        if line.startswith("done: "):
            done += 1
            if done == 1 or done % 10 == 0:
                (worker,) = workers(sweep.pid)
                print(f"after {done} jobs: {resident(worker):.0f} MB in process {worker}", flush=True)
    if sweep.wait():
        raise SystemExit(f"the sweep ended with {sweep.returncode}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=50)
    parser.add_argument("--source", choices=SOURCES, default="mnist")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        main(clone_to(Path(folder)), given.jobs, given.source)
