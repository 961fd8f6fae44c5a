"""The training loop: one epoch after the other, from any epoch on.

All randomness is a function of (seed, epoch, step): an epoch's order and its augmentation are drawn by (seed, epoch),
and the seed states of dropout layers count the steps. So a training can go on from its variables after any epoch.
"""

import math
import time
from collections.abc import Callable, Sequence
from functools import cached_property, partial

import numpy as np
from omegaconf import DictConfig

from epochwise.common.errors import DivergedError
from epochwise.data.prepared import Arrays, PreparedData
from epochwise.training.augment import augments, transformed, transforms
from epochwise.training.backend import configure, keras, tf
from epochwise.training.history import History
from epochwise.training.learning_rate import learning_rate
from epochwise.training.network import build_model, minimized_loss, training_pass_of
from epochwise.training.optimizer import make_optimizer
from epochwise.training.order import epoch_order
from epochwise.training.scoring import Scorer, accuracy

IMAGES_PER_CALL = 640  # Python costs up to 1 ms a call; a signal is answered, and progress shown, between two calls


class Training:
    """A network and its data, trained for as many epochs as `history` has rows."""

    def __init__(self, cfg: DictConfig, data: PreparedData) -> None:
        """Build the network from `cfg.seed`.

        Raises InputError if this process computes with other `train.threads`, or if an own network cannot be built.
        """
        configure(cfg.train.threads)
        self.cfg, self.data = cfg, data
        self.model = build_model(cfg.model, data.image_shape, data.meta.classes, cfg.train.precision, cfg.seed)
        configure(cfg.train.threads)  # undoes what an own network's file may have set
        self.optimizer = make_optimizer(cfg.train)
        self.optimizer.build(self.model.trainable_variables)
        self.scorer = Scorer(self.model)
        self.steps_per_epoch = math.ceil(data.meta.train_images / cfg.train.batch_size)
        self.history: History = []

    @cached_property
    def epoch_trainer(self) -> "EpochTrainer":
        """Made, and the images read, when the first epoch is trained: a run may have all its epochs from states."""
        images, labels = self.data.arrays("train")
        return EpochTrainer(self.model, self.optimizer, self.cfg, images, labels)

    def changes(self, epoch: int) -> tf.Tensor | None:
        """The `transforms` of the training images in an epoch; None if they are not augmented."""
        augment, images = self.cfg.train.augment, self.data.meta.train_images
        if not augments(augment):
            return None
        return tf.constant(transforms(augment, self.cfg.seed, epoch, images, self.data.image_shape))

    @cached_property
    def _validation(self) -> Arrays:
        return self.data.arrays("validation")

    def fit(self, last: int, after_epoch: Callable[[float], None], after_steps: Callable[[int, int], None]) -> None:
        """Train up to and including epoch `last`.

        `after_epoch` gets the seconds that an epoch took; `after_steps`, called many times an epoch, the epoch and how
        many of its steps are done. Raises DivergedError if the loss is no longer a finite number.
        """
        for epoch in range(len(self.history) + 1, last + 1):
            trainer, (images, labels) = self.epoch_trainer, self._validation
            started = time.monotonic()
            self.optimizer.learning_rate = learning_rate(self.cfg.train, epoch)
            order = epoch_order(self.data.meta.train_images, self.cfg.seed, epoch)
            loss, correct = trainer.train(order, partial(after_steps, epoch), self.changes(epoch))
            probabilities, val_loss = self.scorer.score(images, labels)
            if not math.isfinite(loss + val_loss):
                raise DivergedError(f"training diverged in epoch {epoch} (loss {loss}); lower train.learning_rate")
            metrics = {"val_loss": val_loss, "val_accuracy": accuracy(probabilities, labels)}
            self.history.append({"epoch": epoch, "loss": loss, "accuracy": correct, **metrics})
            after_epoch(time.monotonic() - started)

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


class EpochTrainer:
    """Trains a network for one epoch after the other, by a graph that gathers its own batches."""

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        cfg: DictConfig,
        images: np.ndarray,
        labels: np.ndarray,
    ) -> None:
        """`images` are float32 N×H×W×C, `labels` one-hot N×classes."""
        self.image_count, self.batch_size = len(images), cfg.train.batch_size
        batch_size, training_pass = self.batch_size, training_pass_of(cfg.model.network)
        weights, cross_entropy = model.trainable_variables, keras.losses.CategoricalCrossentropy()
        images, labels = tf.constant(images), tf.constant(labels)
        totals = tf.Variable([0, 0], dtype=tf.float64)  # losses of all images, and how many were classified correctly

        @tf.function
        def train_batches(order: tf.Tensor, first: tf.Tensor, last: tf.Tensor, changes: tf.Tensor | None) -> None:
            for step in tf.range(first, last):
                chosen = order[step * batch_size : (step + 1) * batch_size]
                batch, truth = tf.gather(images, chosen), tf.gather(labels, chosen)
                if changes is not None:
                    batch = transformed(batch, tf.gather(changes, chosen))
                with tf.GradientTape() as tape:
                    probabilities = training_pass(model, batch)
                    loss = cross_entropy(truth, probabilities)
                    minimized = minimized_loss(model, loss)
                optimizer.apply(tape.gradient(minimized, weights), weights)
                correct = tf.math.count_nonzero(tf.argmax(probabilities, 1) == tf.argmax(truth, 1))
                loss = tf.cast(loss, tf.float64) * tf.cast(tf.size(chosen), tf.float64)
                totals.assign_add([loss, tf.cast(correct, tf.float64)])

        self._totals, self._train_batches = totals, train_batches

    def train(
        self, order: tf.Tensor, after_steps: Callable[[int], None], changes: tf.Tensor | None = None
    ) -> tuple[float, float]:
        """Train on all images in `order` (N indices); returns the mean loss and the accuracy, as Keras's `fit` does.

        `after_steps` gets how many steps are done, many times an epoch. `changes` are the `transforms` of the images,
        if they are augmented. An own network's regularizers are not part of the loss.
        """
        self._totals.assign([0, 0])
        steps, steps_per_call = (
            math.ceil(self.image_count / self.batch_size),
            max(1, IMAGES_PER_CALL // self.batch_size),
        )
        for first in range(0, steps, steps_per_call):
            last = min(first + steps_per_call, steps)
            self._train_batches(order, tf.constant(first), tf.constant(last), changes)
            after_steps(last)
        loss, correct = self._totals.numpy() / self.image_count
        return float(loss), float(correct)
