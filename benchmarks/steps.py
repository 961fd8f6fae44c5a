"""What a training step costs: the write-up's network in plain Keras, here, and in PyTorch, interleaved in one run.

    python benchmarks/steps.py [--rounds 3] [--threads 2] [--precisions float32 mixed_bfloat16] [--epoch 3200]

bare: stock Keras, `fit` on arrays, Keras's Adam, no determinism, nothing tracked. ours: `training/loop.py` with exact
order, exact dropout and deterministic ops. augmented: the same with all of `train.augment` on. torch: the same network,
channels_last, Adam(fused=True), bfloat16 by autocast; left out where torch is not installed (`pip install torch`). Each
is a process of its own, in turns; a round takes the fastest of five epochs on random images, after one that pays for
tracing, so that other work on the machine counts as little as possible. Ratios are of one round, and the one that is
printed is their median. `limit` is the forward pass of the second convolution alone, which with its two gradients is
89 % of a step's 2.29 GFLOP.
"""

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras

HERE = Path(__file__).resolve().parent
BATCH = 32
SHORTEST = 3200  # images of an epoch, below which other work on the machine decides the ratios
GFLOP_STEP = 3 * 2 * BATCH * (26**2 * 9 * 32 + 24**2 * 9 * 32 * 64 + 9216 * 128 + 1280) / 1e9 - (
    2 * BATCH * 26**2 * 9 * 32 / 1e9  # the images themselves need no gradient
)
GFLOP_CONV_2 = 2 * BATCH * 24**2 * 9 * 32 * 64 / 1e9
EPOCHS = 5


def data(images: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    labels = np.eye(10, dtype=np.float32)[draw.integers(0, 10, images)]
    return draw.random((images, 28, 28, 1), np.float32), labels


def bare_model(precision: str) -> "keras.Sequential":
    """The write-up's recipe as one types it: its layers, Adam, cross-entropy, accuracy."""
    import keras

    keras.mixed_precision.set_global_policy(precision)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Dropout(0.25),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(128, activation="relu"),
            layers.Dense(10, activation="softmax", dtype="float32"),
        ]
    )
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    return model


def bare(precision: str, threads: int, images: int) -> Iterator[float]:
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    started = []
    clock = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: started.append(time.monotonic()),
        on_epoch_end=lambda epoch, logs: started.append(time.monotonic()),
    )
    bare_model(precision).fit(*data(images), batch_size=BATCH, epochs=EPOCHS + 1, callbacks=[clock], verbose=0)
    yield from (end - start for start, end in zip(started[2::2], started[3::2], strict=True))


def ours(precision: str, threads: int, images: int, augmented: bool = False) -> Iterator[float]:
    from omegaconf import OmegaConf

    from epochwise.training.backend import configure
    from epochwise.training.loop import Training
    from epochwise.training.order import epoch_order

    configure(threads)
    cfg = OmegaConf.load(HERE.parent / "params.yaml")
    cfg.train.precision, cfg.train.threads = precision, threads
    if augmented:
        cfg.train.augment = {"shift": 0.1, "rotation": 15.0, "zoom": 0.2, "horizontal_flip": True}
    training = Training(cfg, RandomData(images))
    trainer = training.epoch_trainer
    for epoch in range(EPOCHS + 1):
        start = time.monotonic()
        trainer.train(epoch_order(images, 0, epoch), lambda steps: None, training.changes(epoch))
        if epoch:
            yield time.monotonic() - start


def augmented(precision: str, threads: int, images: int) -> Iterator[float]:
    return ours(precision, threads, images, augmented=True)


class RandomData:
    """Stands for prepared data."""

    image_shape = (28, 28, 1)

    def __init__(self, images: int) -> None:
        self.meta = argparse.Namespace(classes=10, train_images=images)

    def arrays(self, part: str) -> tuple[np.ndarray, np.ndarray]:
        return data(self.meta.train_images)


def torch(precision: str, threads: int, images: int) -> Iterator[float]:
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25)
    model = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.5), nn.Linear(9216, 128), nn.ReLU(), nn.Linear(128, 10))
    model = model.to(memory_format=torch.channels_last)
    optimizer, loss_of = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True), nn.CrossEntropyLoss()
    pictures, one_hot = data(images)
    pictures = torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    labels, autocast = torch.from_numpy(one_hot.argmax(1)), precision != "float32"
    for epoch in range(EPOCHS + 1):
        start = time.monotonic()
        order, total, correct = torch.randperm(images), 0.0, 0
        for step in range(0, images, BATCH):
            chosen = order[step : step + BATCH]
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                outputs = model(pictures[chosen])
            loss = loss_of(outputs.float(), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total, correct = total + loss.detach(), correct + (outputs.argmax(1) == labels[chosen]).sum()
        float(total), int(correct)
        if epoch:
            yield time.monotonic() - start


def limit(precision: str, threads: int, images: int) -> Iterator[float]:
    """Seconds of as many forward passes of the second convolution as an epoch has steps."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    dtype, draw = tf.float32 if precision == "float32" else tf.bfloat16, np.random.default_rng(0)
    x = tf.constant(draw.random((BATCH, 26, 26, 32)), dtype)
    kernel = tf.constant(draw.normal(size=(3, 3, 32, 64)), dtype)
    convolve = tf.function(lambda: tf.nn.conv2d(x, kernel, 1, "VALID"))
    for epoch in range(EPOCHS + 1):
        start = time.monotonic()
        for _ in range(images // BATCH):
            convolve()
        if epoch:
            yield time.monotonic() - start


PEERS: dict[str, Callable[[str, int, int], Iterator[float]]] = {
    "bare": bare, "ours": ours, "augmented": augmented, "torch": torch, "limit": limit,
}  # fmt: skip


def fastest(peer: str, precision: str, threads: int, images: int) -> float:
    """Milliseconds a step, in a process of its own."""
    arguments = json.dumps([peer, precision, threads, images])
    done = subprocess.run([sys.executable, __file__, "--child", arguments], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{peer} failed:\n{done.stderr[-3000:]}")
    return float(done.stdout.split()[-1])


def main(rounds: int, threads: int, precisions: list[str], epoch: int) -> None:
    peers = [peer for peer in PEERS if peer != "torch" or importlib.util.find_spec("torch")]
    if "torch" not in peers:
        print("PyTorch is not installed, so it is left out", file=sys.stderr)
    found = {(peer, precision): [] for precision in precisions for peer in peers}
    for _ in range(rounds):
        for (peer, precision), values in found.items():
            values.append(fastest(peer, precision, threads, epoch))
            print(f"{precision} {peer}: {values[-1]:.2f} ms a step", file=sys.stderr, flush=True)
    if len(precisions) > 1:
        first, second = (found["ours", precision] for precision in precisions[:2])
        ratios = sorted(one / other for one, other in zip(first, second, strict=True))
        spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        print(f"ours, {precisions[0]} / {precisions[1]}: {spread}")
    print(f"ms a step of {BATCH} images, {threads} threads, fastest of {EPOCHS} epochs of {epoch} images; n = {rounds}")
    for precision in precisions:
        for peer in peers:
            times, of = found[peer, precision], found["bare", precision]
            ratios = sorted(time / other for time, other in zip(times, of, strict=True))
            spread = f"{statistics.median(ratios):.2f} of bare ({ratios[0]:.2f} to {ratios[-1]:.2f})"
            print(f"{precision:15} {peer:9} {statistics.median(times):6.2f}  {'' if peer == 'limit' else spread}")
        limits, times = found["limit", precision], found["ours", precision]
        shares = [limit / GFLOP_CONV_2 * GFLOP_STEP / time for limit, time in zip(limits, times, strict=True)]
        of_limit = f"{statistics.median(shares):.0%} ({min(shares):.0%} to {max(shares):.0%})"
        print(f"{precision:15} ours trains at {of_limit} of the second convolution's FLOP/s")
        if "torch" in peers:
            ratios = [time / other for time, other in zip(times, found["torch", precision], strict=True)]
            print(
                f"{precision:15} ours / torch {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precisions", nargs="+", default=["float32", "mixed_bfloat16"])
    parser.add_argument("--epoch", type=int, default=SHORTEST, help=f"images of an epoch, {SHORTEST} or more")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = vars(parser.parse_args())
    if child := options.pop("child"):
        name, *arguments = json.loads(child)
        print(min(PEERS[name](*arguments)) / (arguments[-1] // BATCH) * 1e3)
    elif options["rounds"] < 1 or options["epoch"] < SHORTEST or options["epoch"] % BATCH:
        parser.error(f"--rounds must be 1 or more, and --epoch a multiple of {BATCH} from {SHORTEST} on")
    else:
        main(**options)
