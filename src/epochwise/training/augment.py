"""Augmentation: shift, rotation, zoom and mirror image of training images, a function of (seed, epoch, image)."""

from collections.abc import Sequence

import numpy as np
from omegaconf import DictConfig

from epochwise.training.backend import tf

STREAM = 1  # apart from the order of examples, which is drawn by (seed, epoch) alone
SHIFT_DOWN, SHIFT_RIGHT, ROTATION, ZOOM, FLIP = range(5)  # the columns of an image's random numbers


def augments(augment: DictConfig) -> bool:
    """Whether any change is switched on."""
    return any(augment.values())


def transforms(augment: DictConfig, seed: int, epoch: int, images: int, image_shape: Sequence[int]) -> np.ndarray:
    """How each of the training images is changed in this epoch: float32 N×8, as `transformed` takes it.

    NumPy draws and computes all of an epoch at once on one thread. So an image's row depends on its place in the
    training set, and neither on the order of examples, nor on the batch or the number of threads.
    """
    draws = np.random.default_rng([seed, epoch, STREAM]).uniform(-1, 1, (images, 5))
    height, width = image_shape[:2]
    angle = np.deg2rad(augment.rotation) * draws[:, ROTATION]
    scale = 1 / (1 + augment.zoom * draws[:, ZOOM])
    mirror = np.where(augment.horizontal_flip & (draws[:, FLIP] < 0), -1.0, 1.0)
    across, down = mirror * scale * np.cos(angle), scale * np.cos(angle)
    slant_x, slant_y = mirror * scale * -np.sin(angle), scale * np.sin(angle)
    # The pixel of the old image that a pixel (x, y) of the new one shows, both measured from the middle of the image.
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    right = middle_x - across * middle_x - slant_x * middle_y + augment.shift * width * draws[:, SHIFT_RIGHT]
    below = middle_y - slant_y * middle_x - down * middle_y + augment.shift * height * draws[:, SHIFT_DOWN]
    nothing = np.zeros(images)
    return np.stack([across, slant_x, right, slant_y, down, below, nothing, nothing], axis=1).astype(np.float32)


def transformed(images: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """The images (float32 N×H×W×C), each changed by its row of `transforms`.

    Pixels between pixels are interpolated, those from outside of an image are as its nearest edge. Each pixel is
    computed by itself, so the number of threads makes no difference.
    """
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=rows,
        output_shape=images.shape[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )
