"""Stage 2, train: the CNN, epoch by epoch, told to the run directory first and to MLflow as it happens.

All randomness is a function of (seed, epoch, step): the order of an epoch is a stateless shuffle of (seed, epoch), and
dropout's seed state counts the steps.
"""

import math
import sys
import time
from pathlib import Path

import numpy as np
from omegaconf import DictConfig, OmegaConf

from epochwise import RunError, history, rundir
from epochwise.backend import configure, keras, tf
from epochwise.data import Prepared
from epochwise.files import write_text
from epochwise.model import SCORING_BATCH, build_model, compile_model, save_model, weights_sha256
from epochwise.tracking import Run


def train(cfg: DictConfig, prepared: Prepared, folder: Path, run: Run, record: dict) -> None:
    """Train for `cfg.train.epochs`, write config.yaml, history.csv and model.keras into `folder`, complete `record`.

    Raises RunError if the loss stops being a number.
    """
    configure(cfg.train.threads)
    model = build_model(cfg.model, prepared.image_shape, prepared.classes, cfg.train.precision, cfg.seed)
    compile_model(model, cfg.train.learning_rate)
    images, labels = prepared.arrays("train")
    steps = math.ceil(len(images) / cfg.train.batch_size)

    write_text(folder / rundir.CONFIG, OmegaConf.to_yaml(cfg))
    told = _EpochTeller(folder / rundir.HISTORY, record, run)
    started = time.monotonic()
    model.fit(
        batches(images, labels, cfg.train.batch_size, cfg.seed, cfg.train.epochs),
        epochs=cfg.train.epochs,
        steps_per_epoch=steps,
        validation_data=prepared.arrays("validation"),
        validation_batch_size=SCORING_BATCH,
        callbacks=[told],
        shuffle=False,
        verbose=1 if sys.stdout.isatty() else 0,
    )
    record["train_seconds"] = round(time.monotonic() - started, 3)
    record["weights_sha256"] = weights_sha256(model)
    save_model(model, folder / rundir.MODEL)

    chosen = {key: value for key, value in history.summary(told.rows).items() if key.startswith("best_")}
    run.log_metrics(chosen | {"train_seconds": record["train_seconds"]})
    run.log_tags({key: record[key] for key in ("fingerprint", "trajectory", "weights_sha256")})
    run.log_files([folder / name for name in (rundir.CONFIG, rundir.HISTORY)])
    run.log_model(folder / rundir.MODEL, prepared.image_shape, prepared.classes)


def batches(images: np.ndarray, labels: np.ndarray, batch_size: int, seed: int, epochs: int) -> tf.data.Dataset:
    """Batches of all epochs one after the other; epoch e, from 1, has the order stateless_shuffle(seed=(seed, e)).

    Keras's own shuffle of arrays, once seeded, repeats one order in every epoch.
    """
    images, labels = tf.constant(images), tf.constant(labels)

    def one_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        order = tf.random.experimental.stateless_shuffle(tf.range(len(images)), seed=[seed, tf.cast(epoch, tf.int32)])
        return tf.data.Dataset.from_tensor_slices(order).batch(batch_size)

    orders = tf.data.Dataset.range(1, epochs + 1).flat_map(one_epoch)
    return orders.map(lambda chosen: (tf.gather(images, chosen), tf.gather(labels, chosen))).prefetch(2)


class _EpochTeller(keras.callbacks.Callback):
    """Tells each finished epoch to history.csv and the record, then to MLflow, then to whoever watches a log."""

    def __init__(self, path: Path, record: dict, run: Run):
        super().__init__()
        self.path, self.record, self.run = path, record, run
        self.rows: history.Rows = []
        self.started = 0.0

    def on_epoch_begin(self, epoch: int, logs=None) -> None:
        self.started = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        number, metrics = epoch + 1, {name: float(logs[name]) for name in history.COLUMNS[1:]}
        if not all(math.isfinite(value) for value in metrics.values()):
            raise RunError(f"training diverged in epoch {number} (loss {metrics['loss']}); lower train.learning_rate")
        self.rows.append({"epoch": number, **metrics})
        history.write(self.rows, self.path)
        self.record["epochs_trained"] = number
        self.record["steps_trained"] = number * self.params["steps"]
        self.run.log_metrics(metrics, step=number)
        if not sys.stdout.isatty():
            values = " · ".join(f"{name} {value:.4f}" for name, value in metrics.items())
            seconds = time.monotonic() - self.started
            print(f"epoch {number}/{self.record['epochs']} · {values} · {seconds:.0f} s", flush=True)
