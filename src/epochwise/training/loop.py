"""Stage 2, train: the CNN, epoch by epoch, each told to the run directory as it ends.

All randomness is a function of (seed, epoch, step): the order of an epoch is a stateless shuffle of (seed, epoch), and
dropout's seed state counts the steps. So a training can go on from the state after any of its epochs.
"""

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from omegaconf import DictConfig, OmegaConf

from epochwise.common.errors import RunError
from epochwise.common.files import write_text
from epochwise.data.prepared import Prepared
from epochwise.runs import directory as rundir
from epochwise.training import history
from epochwise.training.backend import configure, keras, tf
from epochwise.training.learning_rate import learning_rate
from epochwise.training.network import SCORING_BATCH, build_model, compile_model, save_model, weights_sha256
from epochwise.trajectory.identity import check_code, legs
from epochwise.trajectory.states import State, States


def train(
    cfg: DictConfig, prepared: Prepared, folder: Path, record: dict, store: Path | None, tell: Callable[[dict], None]
) -> None:
    """Train for `cfg.train.epochs`, write config.yaml, history.csv and model.keras into `folder`, complete `record`.

    Goes on from the newest state in `store` that lies on the way, and leaves there one for each epoch; without a store
    it trains from nothing. `tell` is given the record after each epoch. Raises RunError if the loss stops being a
    number, or if the code was edited meanwhile.
    """
    check_code()
    write_text(folder / rundir.CONFIG, OmegaConf.to_yaml(cfg))
    told = _Teller(cfg, folder, record, tell)
    training = _Training(cfg, prepared, told)
    if store:
        way = legs(cfg, prepared.sha256)
        training.advance([(States(store, leg.identity, cfg.trajectories.max_gb), leg.last) for leg in way])
    else:
        training.fit(cfg.train.epochs, None)
    record["weights_sha256"] = weights_sha256(training.model)
    save_model(training.model, folder / rundir.MODEL)


def batches(
    images: np.ndarray, labels: np.ndarray, batch_size: int, seed: int, epochs: int, first: int = 1
) -> tf.data.Dataset:
    """Batches of the epochs from `first` on, one after the other; epoch e has the order stateless_shuffle((seed, e)).

    Keras's own shuffle of arrays, once seeded, repeats one order in every epoch.
    """
    images, labels = tf.constant(images), tf.constant(labels)

    def one_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        order = tf.random.experimental.stateless_shuffle(tf.range(len(images)), seed=[seed, tf.cast(epoch, tf.int32)])
        return tf.data.Dataset.from_tensor_slices(order).batch(batch_size)

    orders = tf.data.Dataset.range(first, epochs + 1).flat_map(one_epoch)
    return orders.map(lambda chosen: (tf.gather(images, chosen), tf.gather(labels, chosen))).prefetch(2)


class _Training:
    """The network and its data, after as many epochs as `told` has rows."""

    def __init__(self, cfg: DictConfig, prepared: Prepared, told: "_Teller"):
        configure(cfg.train.threads)
        self.cfg, self.told = cfg, told
        self.model = build_model(cfg.model, prepared.image_shape, prepared.classes, cfg.train.precision, cfg.seed)
        compile_model(self.model, cfg.train.learning_rate)
        self.model.optimizer.build(self.model.trainable_variables)
        self.images, self.labels = prepared.arrays("train")
        self.validation = prepared.arrays("validation")

    def advance(self, way: list[tuple[States, int]]) -> None:
        """Get to the end of the way: from the newest state of its last leg, or else by way of the legs before it."""
        *before, (states, last) = way
        with states.turn(last) as state:
            if state:
                self._restore(state)
            elif before:
                self.advance(before)
            self.fit(last, states)

    def fit(self, last: int, states: States | None) -> None:
        """Train up to and with the epoch `last`, if there is anything left to train."""
        done, train = len(self.told.rows), self.cfg.train
        if done == last:
            return
        self.told.states = states
        self.model.fit(
            batches(self.images, self.labels, train.batch_size, self.cfg.seed, last, first=done + 1),
            initial_epoch=done,
            epochs=last,
            steps_per_epoch=math.ceil(len(self.images) / train.batch_size),
            validation_data=self.validation,
            validation_batch_size=SCORING_BATCH,
            callbacks=[
                keras.callbacks.LearningRateScheduler(lambda epoch, _: learning_rate(train, epoch + 1)),
                self.told,
            ],
            shuffle=False,
            verbose=1 if sys.stdout.isatty() else 0,
        )

    def _restore(self, state: State) -> None:
        for variable, value in zip(variables(self.model), state.variables, strict=True):
            variable.assign(value)
        self.told.reuse(state)


def variables(model: keras.Model) -> list[keras.Variable]:
    """All that an epoch changes: weights, dropout's seed states, the optimizer's moments, step count and rate."""
    return [*model.variables, *model.optimizer.variables]


class _Teller(keras.callbacks.Callback):
    """Tells each epoch to the state store, the run directory, `tell` and whoever watches a log, in this order."""

    def __init__(self, cfg: DictConfig, folder: Path, record: dict, tell: Callable[[dict], None]):
        super().__init__()
        self.cfg, self.folder, self.record, self.tell = cfg, folder, record, tell
        self.states: States | None = None
        self.rows: history.Rows = []
        self.seconds: list[float] = []
        self.started = 0.0

    def reuse(self, state: State) -> None:
        """Tell the epochs of `state` as if they had just been trained."""
        self.rows, self.seconds = state.rows, state.seconds
        self.record["epochs_reused"] = state.epoch
        where = Path(*state.path.parts[-3:-1])
        print(f"epochs 1…{state.epoch} of {self.cfg.train.epochs} reused from {where}", flush=True)
        self._tell()

    def on_epoch_begin(self, epoch: int, logs=None) -> None:
        self.started = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        number, metrics = epoch + 1, {name: float(logs[name]) for name in history.COLUMNS[1:]}
        seconds = time.monotonic() - self.started
        if not all(math.isfinite(value) for value in metrics.values()):
            raise RunError(f"training diverged in epoch {number} (loss {metrics['loss']}); lower train.learning_rate")
        self.rows.append({"epoch": number, **metrics})
        self.seconds.append(seconds)
        if self.states:
            self.states.write([variable.numpy() for variable in variables(self.model)], self.rows, self.seconds)
        self.record["epochs_trained"] += 1
        self.record["steps_trained"] += self.params["steps"]
        self.record["train_seconds"] = round(self.record["train_seconds"] + seconds, 3)
        self._tell()
        if not sys.stdout.isatty():
            values = " · ".join(f"{name} {value:.4f}" for name, value in metrics.items())
            print(f"epoch {number}/{self.cfg.train.epochs} · {values} · {seconds:.0f} s", flush=True)

    def _tell(self) -> None:
        self.record["trajectory_seconds"] = round(sum(self.seconds), 3)
        history.write(self.rows, self.folder / rundir.HISTORY)
        self.tell(self.record)
