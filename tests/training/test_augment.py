"""Augmentation: each image is changed by (seed, epoch, place in the training set), as it says, and by nothing else."""

import numpy as np
import pytest

from epochwise.config.compose import load
from epochwise.training.augment import augments, transformed, transforms
from epochwise.training.backend import tf

ALL = ["shift=0.2", "rotation=30", "zoom=0.3", "horizontal_flip=true"]


@pytest.fixture
def changed(project, tensors):
    """Images as an epoch trains on them."""

    def change(images: np.ndarray, *switched_on: str, seed: int = 0, epoch: int = 1) -> np.ndarray:
        augment = load([f"train.augment.{each}" for each in switched_on]).train.augment
        rows = transforms(augment, seed, epoch, len(images), images.shape[1:])
        return transformed(tf.constant(images), tf.constant(rows)).numpy()

    return change


def pictures(count: int, height: int = 9, width: int = 7, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).random((count, height, width, channels), np.float32)


def test_it_is_off_unless_switched_on(project):
    assert not augments(load([]).train.augment)
    for each in ALL:
        assert augments(load([f"train.augment.{each}"]).train.augment)


def test_half_of_the_images_are_mirrored_to_the_bit(changed):
    images = pictures(2000)
    new = changed(images, "horizontal_flip=true")
    mirrored = np.array([not np.array_equal(one, other) for one, other in zip(images, new, strict=True)])
    np.testing.assert_array_equal(new[mirrored], images[mirrored][:, :, ::-1])
    assert abs(mirrored.mean() - 0.5) < 5 * 0.5 / np.sqrt(2000)


def test_a_shift_moves_up_to_its_share_in_both_directions(changed):
    """Found by the middle of what a dot becomes."""
    images = np.zeros((500, 21, 11, 1), np.float32)
    images[:, 10, 5] = 1
    new = changed(images, "shift=0.2")[..., 0]
    rows = (new.sum(axis=2) * np.arange(21)).sum(axis=1) / new.sum(axis=(1, 2)) - 10
    columns = (new.sum(axis=1) * np.arange(11)).sum(axis=1) / new.sum(axis=(1, 2)) - 5
    for moved, most in ((rows, 0.2 * 21), (columns, 0.2 * 11)):
        assert most - 0.2 < moved.max() <= most + 1e-3 and -most - 1e-3 <= moved.min() < -most + 0.2
        assert abs(moved.mean()) < 0.5


def test_a_rotation_turns_about_the_middle_either_way(changed):
    images = np.zeros((500, 41, 41, 1), np.float32)
    images[:, 19:22, 34:37] = 1  # to the right of the middle
    new = changed(images, "rotation=30")[..., 0]
    x = (new.sum(axis=1) * np.arange(41)).sum(axis=1) / new.sum(axis=(1, 2)) - 20
    y = (new.sum(axis=2) * np.arange(41)).sum(axis=1) / new.sum(axis=(1, 2)) - 20
    angles = np.degrees(np.arctan2(y, x))
    np.testing.assert_allclose(np.hypot(x, y), 15, atol=0.3)
    assert 28 < angles.max() < 31 and -31 < angles.min() < -28


def test_a_zoom_makes_larger_and_smaller(changed):
    images = np.zeros((500, 41, 41, 1), np.float32)
    images[:, 15:26, 15:26] = 1
    sides = np.sqrt(changed(images, "zoom=0.3").sum(axis=(1, 2, 3))) / 11
    assert 1.25 < sides.max() < 1.32 and 0.68 < sides.min() < 0.75


def test_what_comes_from_outside_is_as_the_edge(changed):
    """So that an image on white paper gets no black corner."""
    np.testing.assert_allclose(changed(np.ones((50, 8, 8, 3), np.float32), *ALL), 1, atol=1e-5)


def test_an_image_is_changed_by_seed_epoch_and_its_place_and_not_by_the_others(changed):
    images = pictures(40)
    new = changed(images, *ALL)
    np.testing.assert_array_equal(changed(images, *ALL), new)
    np.testing.assert_array_equal(changed(images[:7], *ALL), new[:7])
    for other in (changed(images, *ALL, seed=1), changed(images, *ALL, epoch=2)):
        assert not any(np.array_equal(one, two) for one, two in zip(new, other, strict=True))


def test_a_batch_in_any_order_gives_the_same_pixels(changed):
    images = pictures(64)
    rows = transforms(load([f"train.augment.{each}" for each in ALL]).train.augment, 0, 1, 64, images.shape[1:])
    whole = transformed(tf.constant(images), tf.constant(rows)).numpy()
    for order in (np.arange(64)[::-1], np.array([5]), np.random.default_rng(1).permutation(64)[:17]):
        part = transformed(tf.constant(images[order]), tf.constant(rows[order])).numpy()
        np.testing.assert_array_equal(part, whole[order])


def test_each_change_is_drawn_by_itself(project):
    """To switch one on does not change how far another one goes."""
    one = load(["train.augment.shift=0.2"]).train.augment
    both = load(["train.augment.shift=0.2", "train.augment.horizontal_flip=true"]).train.augment
    shifts, mirrored = (transforms(each, 0, 1, 100, (9, 9, 1)) for each in (one, both))
    np.testing.assert_array_equal(shifts[:, 5], mirrored[:, 5])


@pytest.mark.slow
def test_validation_and_test_images_are_as_they_are(project, tensors):
    """The loss of a validation set is that of its own images, at rate almost zero, augmented or not."""
    from epochwise.pipeline.datasets import prepared_for
    from epochwise.training.loop import Training

    rows = []
    for switched_on in ([], [f"train.augment.{each}" for each in ALL]):
        cfg = load([*switched_on, "train.epochs=1", "train.learning_rate=1e-30"])
        training = Training(cfg, prepared_for(cfg))
        training.fit(1, lambda seconds: None, lambda epoch, steps: None)
        rows.append(training.history[0])
    assert rows[0]["val_loss"] == rows[1]["val_loss"]
    assert rows[0]["loss"] != rows[1]["loss"]
