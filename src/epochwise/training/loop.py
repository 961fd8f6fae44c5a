"""The training loop: one epoch after the other, from any epoch on.

All randomness is a function of (seed, epoch, step): an epoch's order is a stateless shuffle of (seed, epoch), and the
seed states of the dropout layers count the steps. So a training can go on from its variables after any epoch.
"""

import math
import time
from collections.abc import Callable, Sequence

import numpy as np
from omegaconf import DictConfig

from epochwise.common.errors import RunError
from epochwise.data.prepared import PreparedData
from epochwise.training.backend import configure, keras, tf
from epochwise.training.history import History
from epochwise.training.learning_rate import learning_rate
from epochwise.training.network import build_model, training_pass
from epochwise.training.optimizer import FusedAdam
from epochwise.training.order import epoch_order
from epochwise.training.scoring import Scorer, accuracy

STEPS_PER_CALL = 20  # Python costs up to 1 ms a call, and a signal is answered between two calls


class Training:
    """A network and its data, trained for as many epochs as `history` has rows."""

    def __init__(self, cfg: DictConfig, data: PreparedData) -> None:
        """Build the network from `cfg.seed`. Raises InputError if this process computes with other `train.threads`."""
        configure(cfg.train.threads)
        self.cfg, self.data = cfg, data
        self.model = build_model(cfg.model, data.image_shape, data.meta.classes, cfg.train.precision, cfg.seed)
        self.optimizer = FusedAdam(cfg.train.learning_rate)
        self.optimizer.build(self.model.trainable_variables)
        self.scorer = Scorer(self.model)
        self.steps_per_epoch = math.ceil(data.meta.train_images / cfg.train.batch_size)
        self.history: History = []

    def fit(
        self,
        last: int,
        after_epoch: Callable[[float], None],
        after_steps: Callable[[int, int], None] = lambda epoch, steps: None,
    ) -> None:
        """Train up to and including epoch `last`.

        `after_epoch` gets the seconds that an epoch took; `after_steps`, called many times an epoch, the epoch and how
        many of its steps are done. Raises RunError if the loss is no longer a finite number.
        """
        if len(self.history) == last:
            return
        train_steps, totals = self._steps(*self.data.arrays("train"))
        images, labels = self.data.arrays("validation")
        for epoch in range(len(self.history) + 1, last + 1):
            started = time.monotonic()
            self.optimizer.learning_rate = learning_rate(self.cfg.train, epoch)
            totals.assign([0, 0])
            order = epoch_order(self.data.meta.train_images, self.cfg.seed, epoch)
            for step in range(0, self.steps_per_epoch, STEPS_PER_CALL):
                end = min(step + STEPS_PER_CALL, self.steps_per_epoch)
                train_steps(order, tf.constant(step), tf.constant(end))
                after_steps(epoch, end)
            loss, correct = totals.numpy() / self.data.meta.train_images
            probabilities, val_loss = self.scorer.score(images, labels)
            if not math.isfinite(loss + val_loss):
                raise RunError(f"training diverged in epoch {epoch} (loss {loss}); lower train.learning_rate")
            metrics = {"val_loss": val_loss, "val_accuracy": accuracy(probabilities, labels)}
            self.history.append({"epoch": epoch, "loss": float(loss), "accuracy": float(correct), **metrics})
            after_epoch(time.monotonic() - started)

    def _steps(self, images: np.ndarray, labels: np.ndarray) -> tuple[Callable[..., None], tf.Variable]:
        """A function that trains on the batches `first` to `last` - 1 of an order, and the totals that it adds to.

        The totals are the sum of the losses of all images and the number of images classified correctly.
        """
        model, optimizer, size = self.model, self.optimizer, self.cfg.train.batch_size
        weights, cross_entropy = model.trainable_variables, keras.losses.CategoricalCrossentropy()
        images, labels = tf.constant(images), tf.constant(labels)
        totals = tf.Variable([0, 0], dtype=tf.float64)

        @tf.function
        def train_steps(order: tf.Tensor, first: tf.Tensor, last: tf.Tensor) -> None:
            for step in tf.range(first, last):
                chosen = order[step * size : (step + 1) * size]
                batch, truth = tf.gather(images, chosen), tf.gather(labels, chosen)
                with tf.GradientTape() as tape:
                    probabilities = training_pass(model, batch)
                    loss = cross_entropy(truth, probabilities)
                optimizer.apply(tape.gradient(loss, weights), weights)
                correct = tf.math.count_nonzero(tf.argmax(probabilities, 1) == tf.argmax(truth, 1))
                loss = tf.cast(loss, tf.float64) * tf.cast(tf.size(chosen), tf.float64)
                totals.assign_add([loss, tf.cast(correct, tf.float64)])

        return train_steps, totals

    def variables(self) -> list[np.ndarray]:
        """The values of all that an epoch changes: weights, seed states of dropout, the optimizer's variables."""
        return [variable.numpy() for variable in self._variables()]

    def restore(self, values: Sequence[np.ndarray], history: History) -> None:
        """Continue from `values`, which `variables` gave after the last epoch of `history`."""
        for variable, value in zip(self._variables(), values, strict=True):
            variable.assign(value)
        self.history[:] = history

    def _variables(self) -> list[keras.Variable]:
        return [*self.model.variables, *self.optimizer.variables]
