"""The training loop: Keras's `fit`, one epoch after the other, from any epoch on.

All randomness is a function of (seed, epoch, step): an epoch's order is a stateless shuffle of (seed, epoch), and the
seed states of the dropout layers count the steps. So a training can go on from its variables after any epoch.
"""

import math
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
from omegaconf import DictConfig

from epochwise.common.errors import RunError
from epochwise.data.prepared import PreparedData
from epochwise.training.backend import configure, keras
from epochwise.training.batches import batches
from epochwise.training.history import METRICS, History
from epochwise.training.learning_rate import learning_rate
from epochwise.training.network import build_model, compile_model

SCORING_BATCH = 1000  # images scored at once in every stage, so that equal weights give the same loss to the last bit


class Training:
    """A network and its data, trained for as many epochs as `history` has rows."""

    def __init__(self, cfg: DictConfig, data: PreparedData) -> None:
        """Build the network from `cfg.seed`. Raises InputError if this process computes with other `train.threads`."""
        configure(cfg.train.threads)
        self.cfg = cfg
        self.model = build_model(cfg.model, data.image_shape, data.meta.classes, cfg.train.precision, cfg.seed)
        compile_model(self.model, cfg.train.learning_rate)
        self.model.optimizer.build(self.model.trainable_variables)
        self.images, self.labels = data.arrays("train")
        self.validation = data.arrays("validation")
        self.steps_per_epoch = math.ceil(len(self.images) / cfg.train.batch_size)
        self.history: History = []

    def fit(self, last: int, after_epoch: Callable[[float], None]) -> None:
        """Train up to and including epoch `last`. `after_epoch` gets the seconds that an epoch took.

        Raises RunError if the loss is no longer a finite number.
        """
        done, train = len(self.history), self.cfg.train
        if done == last:
            return
        self.model.fit(
            batches(self.images, self.labels, train.batch_size, self.cfg.seed, last, first=done + 1),
            initial_epoch=done,
            epochs=last,
            steps_per_epoch=self.steps_per_epoch,
            validation_data=self.validation,
            validation_batch_size=SCORING_BATCH,
            callbacks=[
                keras.callbacks.LearningRateScheduler(lambda epoch, _: learning_rate(train, epoch + 1)),
                _EpochRows(self.history, after_epoch),
            ],
            shuffle=False,
            verbose=1 if sys.stdout.isatty() else 0,
        )

    def variables(self) -> list[np.ndarray]:
        """The values of all that an epoch changes: weights, seed states of dropout, the optimizer's variables."""
        return [variable.numpy() for variable in self._variables()]

    def restore(self, values: Sequence[np.ndarray], history: History) -> None:
        """Continue from `values`, which `variables` gave after the last epoch of `history`."""
        for variable, value in zip(self._variables(), values, strict=True):
            variable.assign(value)
        self.history[:] = history

    def _variables(self) -> list[keras.Variable]:
        return [*self.model.variables, *self.model.optimizer.variables]


class _EpochRows(keras.callbacks.Callback):
    """Appends a row to the history at the end of each epoch."""

    def __init__(self, history: History, after_epoch: Callable[[float], None]) -> None:
        super().__init__()
        self.history, self.after_epoch = history, after_epoch
        self.started = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.started = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        number, metrics = epoch + 1, {name: float(logs[name]) for name in METRICS}
        if not all(math.isfinite(value) for value in metrics.values()):
            raise RunError(f"training diverged in epoch {number} (loss {metrics['loss']}); lower train.learning_rate")
        seconds = time.monotonic() - self.started
        self.history.append({"epoch": number, **metrics})
        self.after_epoch(seconds)
