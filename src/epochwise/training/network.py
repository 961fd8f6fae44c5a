"""The CNN of the MNIST write-up, and how it is compiled."""

from collections.abc import Sequence

from omegaconf import DictConfig

from epochwise.training.backend import keras


def build_model(
    model: DictConfig, image_shape: Sequence[int], classes: int, precision: str, seed: int
) -> keras.Sequential:
    """Two convolutions, pooling, two dropouts, two dense layers: 1,199,882 weights for 28×28×1 images and 10 classes.

    `seed` decides the initial weights and the units that dropout drops, so Python's, NumPy's and Keras's global
    generators are set to it. The last layer computes in float32 in every precision, as Keras's guide to mixed
    precision asks for a softmax.
    """
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
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


def compile_model(model: keras.Model, learning_rate: float) -> None:
    """Adam, categorical cross-entropy and accuracy, as in the write-up."""
    model.compile(optimizer=keras.optimizers.Adam(learning_rate), loss="categorical_crossentropy", metrics=["accuracy"])
