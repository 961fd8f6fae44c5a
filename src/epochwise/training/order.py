"""The order of examples in each epoch, which depends on (seed, epoch) only."""

from epochwise.training.backend import tf


def epoch_order(images: int, seed: int, epoch: int) -> tf.Tensor:
    """The numbers 0 to `images` - 1 in the order of this epoch. Keras's own shuffle, once seeded, repeats one order."""
    return tf.random.experimental.stateless_shuffle(tf.range(images), seed=[seed, epoch])
