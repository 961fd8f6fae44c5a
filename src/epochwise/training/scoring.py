"""Score images with a network: the probabilities and, from the same pass, the loss as Keras reports it."""

import numpy as np

from epochwise.training.backend import keras, tf

SCORING_BATCH = 1000  # images scored at once in every stage, so that equal weights give the same loss to the last bit


class Scorer:
    """A network that scores images. What TensorFlow makes of it, which takes 0.2 s, is made once."""

    def __init__(self, model: keras.Model) -> None:
        cross_entropy, mean_loss = keras.losses.CategoricalCrossentropy(), keras.metrics.Mean()

        @tf.function(reduce_retracing=True)
        def score_batch(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
            probabilities = model(images, training=False)
            mean_loss.update_state(cross_entropy(labels, probabilities), sample_weight=tf.shape(images)[0])
            return probabilities

        self.model, self._mean_loss, self._score_batch = model, mean_loss, score_batch

    def score(self, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, float]:
        """Probabilities (N×classes) and mean loss for images (N×H×W×C) and one-hot labels (N×classes).

        The loss is that of Keras's `evaluate` to the last bit: computed in a graph, where Keras takes cross-entropy
        from the softmax layer's inputs. Computed from its outputs, as `keras.losses.categorical_crossentropy` does
        outside a graph, it would be clipped at probabilities below 1e-7.
        """
        self._mean_loss.reset_state()
        parts = [slice(start, start + SCORING_BATCH) for start in range(0, len(images), SCORING_BATCH)]
        batches = [self._score_batch(tf.constant(images[part]), tf.constant(labels[part])) for part in parts]
        return np.concatenate([batch.numpy() for batch in batches]), float(self._mean_loss.result())


def accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The share of images whose most probable class is that of their one-hot label."""
    return float(np.mean(probabilities.argmax(axis=1) == labels.argmax(axis=1)))
