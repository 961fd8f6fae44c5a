"""What exactness, tracking and start-up cost, as ratios measured in one run.

    python benchmarks/overhead.py [rounds]

An epoch: Keras's own `fit` on arrays against this project's order of examples with deterministic ops; same network,
batches of 32; and what it costs to keep the state after it. Whole commands: against Python's own start, in a clone of
the project on the bundled digits. Rounds are interleaved, since machines are noisy; a ratio is the median of theirs.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

IMAGES = 6_000
COMMANDS = {
    "python -c pass": (sys.executable, "-c", "pass"),
    "epochwise --help": ("epochwise", "--help"),
    "epochwise check train.epochs=0": ("epochwise", "check", "train.epochs=0"),
    "dvc status": ("dvc", "status"),
    "quick run, tracking=off": ("epochwise", "run", "experiment=quick", "tracking=off"),
    "quick run": ("epochwise", "run", "experiment=quick"),
}


def second_epoch(way: str) -> float:
    """Wall seconds of the second of two epochs on random 28×28 images; the first one pays for tracing."""
    import numpy as np
    from epochwise.training.batches import batches
    from omegaconf import OmegaConf

    from epochwise.training.backend import configure, keras, tf
    from epochwise.training.network import build_model, compile_model

    if way == "exact":
        configure(threads=2)
    else:
        tf.config.threading.set_intra_op_parallelism_threads(2)
        tf.config.threading.set_inter_op_parallelism_threads(2)
    draw = np.random.default_rng(0)
    images = draw.random((IMAGES, 28, 28, 1), np.float32)
    labels = np.eye(10, dtype=np.float32)[draw.integers(0, 10, IMAGES)]
    model = build_model(OmegaConf.load("params.yaml").model, (28, 28, 1), 10, "float32", seed=0)
    compile_model(model, 0.001)
    started = []
    clock = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: started.append(time.monotonic()))
    if way == "exact":
        data = batches(images, labels, 32, seed=0, epochs=2)
        model.fit(data, epochs=2, steps_per_epoch=-(-IMAGES // 32), callbacks=[clock], verbose=0, shuffle=False)
    else:
        model.fit(images, labels, batch_size=32, epochs=2, callbacks=[clock], verbose=0)
    seconds = time.monotonic() - started[1]
    if way == "exact":
        seconds_of_state(model, seconds)
    return seconds


def seconds_of_state(model, epoch: float) -> None:
    """Print what keeping the state costs: to stderr, since stdout holds the epoch's seconds."""
    from epochwise.trajectory.states import StateStore

    row, seconds = dict.fromkeys(("epoch", "loss", "accuracy", "val_loss", "val_accuracy"), 1), []
    with tempfile.TemporaryDirectory(dir=".") as store:
        states = StateStore(Path(store), {}, max_gb=10)
        variables = [*model.variables, *model.optimizer.variables]
        for _ in range(5):
            started = time.monotonic()
            states.write([variable.numpy() for variable in variables], [row], [epoch])
            seconds.append(time.monotonic() - started)
    state, of = statistics.median(seconds), epoch * 60_000 / IMAGES
    print(f"keeping a state: {state:.3f} s, {state / of:.2%} of an epoch of 60,000 images", file=sys.stderr)


def measure_epoch(way: str) -> float:
    done = subprocess.run([sys.executable, __file__, way], stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout.split()[-1])


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
    epochs, commands = {"stock": [], "exact": []}, {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["git", "clone", "--quiet", ".", folder], check=True)
        for _ in range(rounds):
            for way, seconds in epochs.items():
                seconds.append(measure_epoch(way))
            for name, seconds in commands.items():
                seconds.append(measure_command(name, folder))
    print(f"medians of {rounds} rounds; an epoch of {IMAGES} images, then whole commands")
    show(epochs)
    show(commands)


if __name__ == "__main__":
    if sys.argv[1:] and not sys.argv[1].isdigit():
        print(second_epoch(sys.argv[1]))
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else 5)
