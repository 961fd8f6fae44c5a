"""A sweep over epochs and dropout, cold: the stock way (stock_sweep.py), and this project's on one worker and on two.

    python benchmarks/sweeps.py [--rounds 3] [--quick]

Each round runs all ways one after the other, each in a fresh clone with nothing but MNIST fetched: epochs 2, 4, …, 12
and two dropouts, on 6,000 images (--quick: 1 and 2, 600 images). Wall times are of whole processes, ratios are of
one round, since machines are noisy. The stock way gets its arrays ready-made; ours prepares them. Both score the 5,000
validation images after each epoch: stock in fit's default batches, which are those of training, ours 1,000 at once.
"""

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
WAYS: dict[str, list[str]] = {
    "stock": [],
    "serial": [],
    "parallel": ["hydra/launcher=parallel"],
    "parallel bfloat16": ["hydra/launcher=parallel", "train.precision=mixed_bfloat16"],
}


def prepare(clone: Path, images: int) -> None:
    subprocess.run(["epochwise", "prepare", f"prepare.train_size={images}"], cwd=clone, check=True)


def stock(clone: Path, epochs: str, images: int) -> list[str]:
    archive = clone / "data.npz"
    shutil.copy(clone / "data/prepared/data.npz", archive)
    return [
        sys.executable,
        str(HERE / "stock_sweep.py"),
        "-m",
        f"epochs={epochs}",
        "dropout=0.25,0.5",
        f"data={archive}",
    ]


def ours(clone: Path, epochs: str, images: int, *more: str) -> list[str]:
    shutil.rmtree(clone / "data/cache/prepared", ignore_errors=True)
    grid = (f"train.epochs={epochs}", "model.dense_dropout=0.25,0.5", f"prepare.train_size={images}")
    return ["epochwise", "run", "-m", *grid, *more]


def costs(way: str, clone: Path, printed: str) -> tuple[int, int, float]:
    """Jobs that finished, epochs trained, and the seconds these took, added over workers."""
    if way == "stock":
        jobs = [json.loads(line) for line in re.findall(r"^JOB (.*)$", printed, re.MULTILINE)]
        return len(jobs), sum(job["epochs"] for job in jobs), sum(job["seconds"] for job in jobs)
    runs = [json.loads(path.read_text()) for path in clone.glob("multirun/*/*/*/run.json")]
    finished = [run for run in runs if run["status"] == "FINISHED"]
    return len(finished), sum(run["epochs_trained"] for run in runs), sum(run["train_seconds"] for run in runs)


def once(way: str, mnist: Path, epochs: str, images: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder)
        subprocess.run(["git", "clone", "--quiet", HERE.parent, clone], check=True)
        shutil.copytree(mnist, clone / "data/cache/mnist")
        if way == "stock":
            prepare(clone, images)
        command = stock(clone, epochs, images) if way == "stock" else ours(clone, epochs, images, *WAYS[way])
        started = time.monotonic()
        done = subprocess.run(command, cwd=clone, capture_output=True, text=True)
        wall = time.monotonic() - started
        if done.returncode:
            raise SystemExit(f"{way} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
        jobs, trained, seconds = costs(way, clone, done.stdout)
    epoch = seconds / trained
    print(f"{way}: {wall:.0f} s, {jobs} runs, {trained} epochs of {epoch:.1f} s, {seconds:.0f} s in epochs", flush=True)
    return wall


def main(rounds: int, quick: bool) -> None:
    epochs, images = ("1,2", 600) if quick else ("2,4,6,8,10,12", 6000)
    ways = list(WAYS)
    ratios: dict[str, list[float]] = {way: [] for way in ways[1:]}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["git", "clone", "--quiet", HERE.parent, folder], check=True)
        prepare(Path(folder), images)
        for number in range(1, rounds + 1):
            print(f"round {number}", flush=True)
            order = ways[number % len(ways) :] + ways[: number % len(ways)]  # so that none is always the first
            walls = {way: once(way, Path(folder) / "data/cache/mnist", epochs, images) for way in order}
            for way, found in ratios.items():
                found.append(walls["stock"] / walls[way])
    for way, found in ratios.items():
        each = ", ".join(f"{ratio:.2f}" for ratio in found)
        print(f"stock / {way}: median {statistics.median(found):.2f} of n={len(found)} ({each})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    main(**vars(parser.parse_args()))
