"""Where a training step goes: milliseconds by kind of op in the training graph, by TensorFlow's profiler.

    python benchmarks/step_profile.py [--peer ours|bare] [--precision float32|mixed_bfloat16] [--steps 40]

With one thread the ops add up to a step. `around the ops` is what is left of it: Python, `fit`, the input.
"""

import argparse
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from steps import BATCH, HERE, RandomData, bare_model, data

OP = re.compile(r"^[^:]+:([A-Z_]\w+)$")  # an op's event is called NODE:TYPE
SHOWN = 0.05  # milliseconds a step, below which a kind of op is one of `all other ops`


def bare_epoch(precision: str, steps: int) -> Callable[[], object]:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    model, (images, labels) = bare_model(precision), data(steps * BATCH)
    return lambda: model.fit(images, labels, batch_size=BATCH, epochs=1, verbose=0)


def our_epoch(precision: str, steps: int) -> Callable[[], object]:
    from omegaconf import OmegaConf

    from epochwise.training.loop import Training
    from epochwise.training.order import epoch_order

    cfg = OmegaConf.load(HERE.parent / "params.yaml")
    cfg.train.precision, cfg.train.threads = precision, 1
    trainer = Training(cfg, RandomData(steps * BATCH)).epoch_trainer
    return lambda: trainer.train(epoch_order(steps * BATCH, 0, 1), lambda done: None)


def op_seconds(folder: Path) -> Counter[str]:
    """Seconds in each type of op of a trace, without those in ops that ran inside."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    found: Counter[str] = Counter()
    for path in folder.rglob("*.xplane.pb"):
        space = xplane_pb2.XSpace()
        space.ParseFromString(path.read_bytes())
        for plane in space.planes:
            kinds = {key: OP.match(metadata.name) for key, metadata in plane.event_metadata.items()}
            for line in plane.lines:
                ends: list[tuple[int, str]] = []  # of the ops around the current one
                for event in sorted(line.events, key=lambda event: (event.offset_ps, -event.duration_ps)):
                    kind = kinds[event.metadata_id]
                    if kind is None:
                        continue
                    while ends and ends[-1][0] <= event.offset_ps:
                        ends.pop()
                    if ends:
                        found[ends[-1][1]] -= event.duration_ps
                    found[kind[1]] += event.duration_ps
                    ends.append((event.offset_ps + event.duration_ps, kind[1]))
    return Counter({kind: picoseconds / 1e12 for kind, picoseconds in found.items()})


def main(peer: str, precision: str, steps: int) -> None:
    import tensorflow as tf

    epoch = {"bare": bare_epoch, "ours": our_epoch}[peer](precision, steps)
    epoch()  # traces the graph
    started = time.monotonic()
    epoch()
    whole = (time.monotonic() - started) / steps * 1e3
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        epoch()
        tf.profiler.experimental.stop()
        kinds = Counter({kind: seconds / steps * 1e3 for kind, seconds in op_seconds(Path(folder)).items()})
    print(f"{peer}, {precision}, one thread, ms a step of {BATCH} images, {steps} steps")
    for kind, value in kinds.most_common():
        if value >= SHOWN:
            print(f"{value:7.2f}  {kind}")
    print(f"{sum(value for value in kinds.values() if value < SHOWN):7.2f}  all other ops")
    print(f"{whole - kinds.total():7.2f}  around the ops")
    print(f"{whole:7.2f}  a step, without the profiler")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer", choices=["ours", "bare"], default="ours")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--steps", type=int, default=40)
    main(**vars(parser.parse_args()))
