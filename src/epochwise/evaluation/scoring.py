"""Score images with a model: the probabilities and, from the same pass, the loss as Keras reports it."""

import numpy as np

from epochwise.training.backend import keras, tf
from epochwise.training.loop import SCORING_BATCH
from epochwise.training.network import compile_model


def score(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, float]:
    """Probabilities (N×classes) and mean loss for images (N×H×W×C) and one-hot labels (N×classes).

    The loss is that of Keras's `evaluate` to the last bit, and so that of `val_loss` for the same weights and images:
    computed in a graph, where Keras takes cross-entropy from the softmax layer's inputs. Computed from its outputs, as
    `keras.losses.categorical_crossentropy` does outside a graph, it would be clipped at probabilities below 1e-7.
    """
    compile_model(model, learning_rate=1.0)  # gives the model its loss; the rate is never used
    mean_loss = keras.metrics.Mean()

    @tf.function(reduce_retracing=True)
    def score_batch(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        probabilities = model(x, training=False)
        loss = model.compute_loss(x=x, y=y, y_pred=probabilities, training=False)
        mean_loss.update_state(loss, sample_weight=tf.shape(x)[0])
        return probabilities

    parts = (slice(start, start + SCORING_BATCH) for start in range(0, len(images), SCORING_BATCH))
    batches = [score_batch(tf.constant(images[part]), tf.constant(labels[part])) for part in parts]
    return np.concatenate([batch.numpy() for batch in batches]), float(mean_loss.result())
