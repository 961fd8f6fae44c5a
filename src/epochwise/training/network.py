"""The CNN of the MNIST write-up or an own network, and what a training step computes of it."""

from collections.abc import Callable, Sequence

from omegaconf import DictConfig

from epochwise.common.paths import find_root
from epochwise.training.backend import keras, tf
from epochwise.training.dropout import dropout
from epochwise.training.network_source import is_own, read_source
from epochwise.training.own_network import build_own


def build_model(model: DictConfig, image_shape: Sequence[int], classes: int, precision: str, seed: int) -> keras.Model:
    """The network that `model` describes, for images of H×W×C.

    `seed` decides the initial weights and the units that dropout drops, so Python's, NumPy's and Keras's global
    generators are set to it. Raises InputError if `model.network` names a file that builds no network.
    """
    keras.backend.clear_session(free_memory=False)
    keras.utils.set_random_seed(seed)
    if is_own(model.network):
        return build_own(read_source(model.network, find_root()), model, image_shape, classes, precision)
    return _writeup_network(model, image_shape, classes, precision)


def _writeup_network(model: DictConfig, image_shape: Sequence[int], classes: int, precision: str) -> keras.Sequential:
    """Two convolutions, pooling, two dropouts, two dense layers: 1,199,882 weights for 28×28×1 images and 10 classes.

    The last layer computes in float32 in every precision, as Keras's guide to mixed precision asks for a softmax.
    """
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(image_shape, name="image"),
            layers.Conv2D(model.filters[0], model.kernel_size, activation="relu", dtype=precision, name="conv_1"),
            layers.Conv2D(model.filters[1], model.kernel_size, activation="relu", dtype=precision, name="conv_2"),
            layers.MaxPooling2D(model.pool_size, dtype=precision, name="pool"),
            layers.Dropout(model.conv_dropout, dtype=precision, name="conv_dropout"),
            layers.Flatten(dtype=precision, name="flatten"),
            layers.Dropout(model.dense_dropout, dtype=precision, name="dense_dropout"),
            layers.Dense(model.dense_units, activation="relu", dtype=precision, name="dense"),
            layers.Dense(classes, activation="softmax", dtype="float32", name="probabilities"),
        ],
        name="cnn",
    )


def training_pass_of(network: str) -> Callable[[keras.Model, tf.Tensor], tf.Tensor]:
    """What gives the probabilities (N×classes) that a network is trained by; `network` is the value of its key."""
    return _layers_one_by_one if is_own(network) else training_pass


def training_pass(model: keras.Sequential, images: tf.Tensor) -> tf.Tensor:
    """The probabilities (N×classes) that `model(images, training=True)` gives, computed with less work.

    Bias and ReLU of the second convolution come after pooling, on a quarter of the numbers: both are monotone, so they
    commute with the maximum. The two dropout layers, with only a Flatten between them, are one draw for both.
    """
    conv_1, conv_2, pool, conv_dropout, flatten, dense_dropout, dense, probabilities = model.layers
    dtype = conv_2.compute_dtype
    x = pool(tf.nn.conv2d(conv_1(images), tf.cast(conv_2.kernel, dtype), strides=1, padding="VALID"))
    x = flatten(tf.nn.relu(tf.nn.bias_add(x, tf.cast(conv_2.bias, dtype))))
    dropouts = [layer for layer in (conv_dropout, dense_dropout) if layer.rate]  # a layer without a rate has no seed
    if dropouts:
        x = dropout(x, [layer.rate for layer in dropouts], dropouts[0].seed_generator.next())
    return probabilities(dense(x))


def minimized_loss(model: keras.Model, loss: tf.Tensor) -> tf.Tensor:
    """The mean cross-entropy of a batch, and what an own network's regularizers add to it in this pass."""
    penalties = [tf.cast(penalty, loss.dtype) for penalty in model.losses]
    return tf.add_n([loss, *penalties]) if penalties else loss


def _layers_one_by_one(model: keras.Model, images: tf.Tensor) -> tf.Tensor:
    return model(images, training=True)
