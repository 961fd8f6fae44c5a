"""A sweep of 10,000 jobs: what scheduler and leaderboard cost, and what 200 nodes ask of folder, store and server.

    python benchmarks/scale.py                      # all of it; --jobs 1000 2000 for less
    python benchmarks/scale.py --requests 30 --answer 0.37 --workers 4      # of a run, of a request, of the server

The nodes are simulated with the scheduler as it is; scheduler and leaderboard are measured, with real files.
"""

import argparse
import heapq
import math
import resource
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path

from epochwise.common.files import write_json
from epochwise.evaluation.file_names import EVALUATION_FILES
from epochwise.runs.directory import RunDirectory
from epochwise.sweeps.leaderboard import make_leaderboard
from epochwise.sweeps.record import Point, SweepRecord
from epochwise.sweeps.scheduler import Job, Queue
from epochwise.sweeps.table import as_text
from epochwise.training.history import COLUMNS, summarize

LENGTHS = (2, 4, 6, 8, 10, 12, 14, 16, 18, 20)  # epochs of the runs of a trajectory
PARAMETERS = 38  # of a configuration, in params.yaml
RECORD = {
    **{"run_id": "r", "token": "t", "name": "n", "experiment": "epochwise", "data_sha256": "d", "status": "FINISHED"},
    **{"steps_trained": 9, "git_commit": "0" * 40, "weights_sha256": "a" * 64, "published": False, "identity": {}},
}


def jobs_of(count: int, folder: Path, store: Path) -> list[Job]:
    """Jobs of trajectories with runs of ten lengths each."""
    made = []
    for number in range(count):
        trajectory, length = divmod(number, len(LENGTHS))
        epochs = LENGTHS[length]
        run = RunDirectory(folder / str(number))
        made.append(Job(number, f"job {number}", run, 1, epochs, [(f"{trajectory:064}", epochs)], store))
    return made


def simulate(count: int, nodes: int, epoch: float, around: float) -> dict[str, object]:
    """Run jobs on `nodes`; `epoch` and `around` are the seconds of an epoch and of a run beside its training."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        jobs = jobs_of(count, folder, folder)
        started = time.process_time()
        queue = Queue(jobs)
        in_scheduler = time.process_time() - started
        events: list[tuple[float, int, int]] = []  # when an epoch or a job ends: time, job, epoch (0: the job)
        kept: dict[str, int] = {}
        states, ends, starts, now, free, asked = Counter(), Counter(), Counter(), 0.0, nodes, 0
        longest = 0.0
        while queue.waiting or events:
            while free:
                before = time.process_time()
                job = queue.next()
                if job:
                    queue.start(job)
                step = time.process_time() - before
                in_scheduler, longest, asked = in_scheduler + step, max(longest, step), asked + 1
                if not job:
                    break
                free -= 1
                starts[int(now)] += 1
                newest, at = kept.get(job.segments[0][0], 0), now
                for number in range(newest + 1, job.epochs + 1):
                    at += epoch
                    heapq.heappush(events, (at, job.number, number))
                heapq.heappush(events, (at + around, job.number, 0))
            now, number, done = heapq.heappop(events)
            job = jobs[number]
            if done:
                states[int(now)] += 1
                key = job.segments[0][0]
                kept[key] = max(done, kept.get(key, 0))
                (folder / key).mkdir(exist_ok=True)
                (folder / key / f"{done:05}-{'0' * 64}.npz").touch()
            else:
                ends[int(now)] += 1
                free += 1
                before = time.process_time()
                queue.end(job)
                in_scheduler += time.process_time() - before
    return {
        "jobs": count,
        "hours": now / 3600,
        "epochs": sum(states.values()),
        "least": count // len(LENGTHS) * max(LENGTHS),
        "scheduler": in_scheduler,
        "longest": longest,
        "states": states,
        "ends": ends,
        "starts": starts,
        "seconds": now,
    }


def leaderboard(count: int) -> dict[str, float]:
    """Seconds and bytes of a leaderboard of so many finished runs, and of sweep.json."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        (root / "params.yaml").touch()
        (root / "conf").mkdir()
        folder = root / "multirun" / "day" / "time"
        points = []
        for number in range(count):
            trajectory, length = divmod(number, len(LENGTHS))
            values = {f"model.parameter_{index}": index for index in range(PARAMETERS)}
            values |= {"train.epochs": LENGTHS[length], "model.rate": trajectory, "prepare.validation_size": 5000}
            points.append(Point(number, f"job {number}", [], values, f"{number:064}", "d"))
            write_run(folder / str(number), number, LENGTHS[length])
        sweep = SweepRecord(folder, "s", "c", "e", ["train.epochs", "model.rate"], points, False, True)
        started = time.process_time()
        sweep.write()
        written = time.process_time()
        sweep = SweepRecord.read(folder)
        read = time.process_time()
        made = make_leaderboard(root, sweep)
        ranked = time.process_time()
        text = as_text(made, "json")
        shown = time.process_time()
        assert len(made.results) == count
    return {
        **{"jobs": count, "write": written - started, "read": read - written, "rank": ranked - read},
        **{"text": shown - ranked, "megabytes": len(text) / 1e6},
    }


def write_run(folder: Path, number: int, epochs: int) -> None:
    run = RunDirectory(folder)
    folder.mkdir(parents=True)
    history = [dict(zip(COLUMNS, (epoch, 0.1, 0.9, 0.1, 0.9), strict=True)) for epoch in range(1, epochs + 1)]
    run.write_history(history)
    write_json(run.metrics, summarize(history) | {"test_loss": 0.1, "test_accuracy": 0.9})
    for path in (run.config, run.model):
        path.touch()
    own = {"fingerprint": f"{number:064}", "trajectory": str(number // len(LENGTHS)), "epochs": epochs}
    own |= {"epochs_trained": 2, "epochs_reused": epochs - 2, "train_seconds": 1.5, "trajectory_seconds": 3.0}
    write_json(run.record, RECORD | own)


def growth(sizes: list[int], seconds: list[float]) -> str:
    """By which power of the jobs the seconds grow, between the smallest and the largest number of them."""
    if len(sizes) < 2:
        return ""
    return f"{math.log(seconds[-1] / seconds[0]) / math.log(sizes[-1] / sizes[0]):.2f}"


def peak(found: Counter, seconds: float) -> str:
    """Of events a second: the mean, and the largest of ten seconds' means."""
    tens = Counter()
    for second, count in found.items():
        tens[second // 10] += count
    return f"{sum(found.values()) / seconds:.2f} a second, at most {max(tens.values()) / 10:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1000, 2000, 5000, 10000])
    parser.add_argument("--nodes", type=int, default=200)
    parser.add_argument("--epoch", type=float, default=27.0, help="seconds; of the write-up's network on MNIST here")
    parser.add_argument("--around", type=float, default=8.0, help="seconds of a run beside its training")
    parser.add_argument("--state", type=float, default=14.4, help="10⁶ bytes; of the write-up's network with Adam")
    parser.add_argument("--requests", type=float, default=24, help="of a run to the tracking server")
    parser.add_argument("--answer", type=float, default=0.077, help="seconds of a server's process for a request")
    parser.add_argument("--workers", type=int, default=4, help="processes of the server, each on a core")
    chosen = parser.parse_args()
    sizes = sorted(chosen.jobs)
    simulated = [simulate(count, chosen.nodes, chosen.epoch, chosen.around) for count in sizes]
    print(f"scheduler, {chosen.nodes} nodes: jobs · processor seconds in all · ms a job · longest step, ms")
    for one in simulated:
        assert one["epochs"] == one["least"], "an epoch was trained twice"
        total = one["scheduler"]
        print(f"{one['jobs']:7} · {total:6.2f} · {1000 * total / one['jobs']:.3f} · {1000 * one['longest']:.1f}")
    print(f"grows with the jobs to the power of {growth(sizes, [one['scheduler'] for one in simulated])}")
    print("leaderboard: jobs · write sweep.json · read it · rank · as json, processor seconds · MB of json")
    ranked = [leaderboard(count) for count in sizes]
    for row in ranked:
        print(" · ".join(f"{value:7.0f}" if key == "jobs" else f"{value:.2f}" for key, value in row.items()))
    print(f"grows with the jobs to the power of {growth(sizes, [row['rank'] + row['text'] for row in ranked])}")
    print(f"memory of this process: at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
    plan(simulated[-1], chosen)


def plan(largest: dict, chosen: argparse.Namespace) -> None:
    """What the largest sweep asks of each part, and how many nodes each can bear."""
    seconds, states, ends = largest["seconds"], largest["states"], largest["ends"]
    print(f"{largest['jobs']} jobs on {chosen.nodes} nodes: {largest['hours']:.1f} hours, {largest['epochs']} epochs")
    print(f"store: states {peak(states, seconds)}, {chosen.state * sum(states.values()) / seconds:.0f} MB a second; ")
    print(f"       in all {chosen.state * sum(states.values()) / 1e3:.0f} GB, of which trajectories.max_gb=10 keeps 10")
    files = len(EVALUATION_FILES) + 6
    print(f"folder: runs end {peak(ends, seconds)}; files {files * sum(ends.values()) / seconds:.1f} a second")
    asked = chosen.requests * sum(ends.values()) / seconds
    borne = chosen.workers / chosen.answer
    print(f"server: {asked:.1f} requests a second of {borne:.1f} that {chosen.workers} processes answer")
    busy = Counter()
    for second, count in ends.items():
        busy[second // 60] += chosen.requests * count
    fullest, median = max(busy.values()) / 60, statistics.median(busy.values()) / 60
    print(f"        in the fullest minute {fullest:.1f} a second; in a median one {median:.1f}")
    print(f"        it bears {chosen.nodes * borne / asked:.0f} nodes" if asked else "")


if __name__ == "__main__":
    main()
