"""The batches of each epoch, in an order that depends on (seed, epoch) only."""

import numpy as np

from epochwise.training.backend import tf


def batches(
    images: np.ndarray, labels: np.ndarray, batch_size: int, seed: int, epochs: int, first: int = 1
) -> tf.data.Dataset:
    """The batches of epochs `first` to `epochs`, one epoch after the other.

    Epoch e has the order stateless_shuffle((seed, e)). Keras's own shuffle of arrays, once seeded, repeats the same
    order in every epoch.
    """
    images, labels = tf.constant(images), tf.constant(labels)

    def one_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        order = tf.random.experimental.stateless_shuffle(tf.range(len(images)), seed=[seed, tf.cast(epoch, tf.int32)])
        return tf.data.Dataset.from_tensor_slices(order).batch(batch_size)

    orders = tf.data.Dataset.range(first, epochs + 1).flat_map(one_epoch)
    return orders.map(lambda chosen: (tf.gather(images, chosen), tf.gather(labels, chosen))).prefetch(2)
