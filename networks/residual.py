"""A small residual network, the example of docs/own-network.md."""

import keras
from keras import layers


def build(image_shape, classes, width=16, blocks=2, dropout=0.3):
    image = keras.Input(image_shape)
    x = layers.Conv2D(width, 3, padding="same")(image)
    for _ in range(blocks):
        shortcut = x
        x = layers.BatchNormalization(momentum=0.9)(x)
        x = layers.Conv2D(width, 3, padding="same", activation="relu")(x)
        x = layers.Conv2D(width, 3, padding="same")(x)
        x = layers.Add()([x, shortcut])
    x = layers.MaxPooling2D()(x)
    x = layers.Flatten()(x)
    x = layers.Dropout(dropout)(x)
    return keras.Model(image, layers.Dense(classes, activation="softmax", dtype="float32")(x))
