"""What start-up and tracking cost: whole commands against Python's own start, in a clone on the bundled digits.

    python benchmarks/overhead.py [rounds]

Rounds are interleaved, since machines are noisy; a ratio is the median of theirs. Training is measured by steps.py.
"""

import statistics
import subprocess
import sys
import tempfile
import time

COMMANDS = {
    "python -c pass": (sys.executable, "-c", "pass"),
    "epochwise --help": ("epochwise", "--help"),
    "epochwise check train.epochs=0": ("epochwise", "check", "train.epochs=0"),
    "dvc status": ("dvc", "status"),
    "quick run, tracking=off": ("epochwise", "run", "experiment=quick", "tracking=off"),
    "quick run": ("epochwise", "run", "experiment=quick"),
}


def measure_command(name: str, folder: str) -> float:
    started = time.monotonic()
    subprocess.run(COMMANDS[name], cwd=folder, capture_output=True)
    return time.monotonic() - started


def show(seconds: dict[str, list[float]]) -> None:
    base, first = next(iter(seconds.items()))
    for name, values in seconds.items():
        ratio = statistics.median(value / other for value, other in zip(values, first, strict=True))
        print(f"{name:32} {statistics.median(values):7.2f} s {ratio:8.2f} × {base}")


def main(rounds: int) -> None:
    commands: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["git", "clone", "--quiet", ".", folder], check=True)
        for _ in range(rounds):
            for name, seconds in commands.items():
                seconds.append(measure_command(name, folder))
    print(f"medians of {rounds} rounds")
    show(commands)


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 5)
