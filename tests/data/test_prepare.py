"""Prepared data: its numbers, its split, its bytes, and the guard against reading other data."""

import numpy as np
import pytest

from epochwise.common.errors import InputError
from epochwise.config.compose import load
from epochwise.data.prepare import prepare
from epochwise.data.sources import load_images


@pytest.fixture
def cfg(project):
    return load([])


def test_images_are_normalised_and_labels_one_hot(cfg, tmp_path):
    data = prepare(cfg, tmp_path / "one", tmp_path)
    raw = load_images("digits", tmp_path)
    images, labels = data.arrays("test")
    np.testing.assert_array_equal(images, raw.x_test.astype(np.float32) / np.float32(255))
    assert images.dtype == labels.dtype == np.float32
    np.testing.assert_array_equal(labels.argmax(axis=1), raw.y_test)
    assert (labels.sum(axis=1) == 1).all()
    assert data.image_shape == (8, 8, 1)
    assert data.meta.classes == 10


def test_split_is_disjoint_whole_and_stratified(cfg, tmp_path):
    data = prepare(cfg, tmp_path / "one", tmp_path)
    training, validation = (data.arrays(part) for part in ("train", "validation"))
    assert (len(training[0]), len(validation[0])) == (1200, 300)
    together = np.concatenate([training[0], validation[0]]).reshape(1500, -1)
    everything = load_images("digits", tmp_path).x_train.reshape(1500, -1) / np.float32(255)
    np.testing.assert_array_equal(np.unique(together, axis=0), np.unique(everything, axis=0))
    shares = [labels.mean(axis=0) for _, labels in (training, validation)]
    np.testing.assert_allclose(shares[0], shares[1], atol=0.005)


def test_a_smaller_training_part_is_stratified_and_leaves_the_validation_part_alone(cfg, tmp_path):
    whole = prepare(cfg, tmp_path / "whole", tmp_path)
    cfg.prepare.train_size = 600
    part = prepare(cfg, tmp_path / "part", tmp_path)
    np.testing.assert_array_equal(part.arrays("validation")[0], whole.arrays("validation")[0])
    (images, labels), everything = part.arrays("train"), {image.tobytes() for image in whole.arrays("train")[0]}
    assert len({image.tobytes() for image in images} & everything) == len(images) == 600
    np.testing.assert_allclose(labels.mean(axis=0), whole.arrays("train")[1].mean(axis=0), atol=0.002)


def test_same_parameters_give_the_same_bytes_and_another_split_others(cfg, tmp_path):
    contents = [prepare(cfg, tmp_path / name, tmp_path).archive.read_bytes() for name in ("one", "two")]
    assert contents[0] == contents[1]
    cfg.prepare.split_seed = 1
    assert prepare(cfg, tmp_path / "three", tmp_path).archive.read_bytes() != contents[0]


def test_the_archive_is_the_one_that_numpy_writes(cfg, tmp_path, monkeypatch):
    """Whatever the size of the parts in which it is written."""
    data = prepare(cfg, tmp_path / "one", tmp_path)
    with np.load(data.archive) as arrays:
        np.savez_compressed(tmp_path / "numpy.npz", **arrays)
    assert data.archive.read_bytes() == (tmp_path / "numpy.npz").read_bytes()
    monkeypatch.setattr("epochwise.data.prepare.WRITTEN_AT_ONCE", 1000)
    assert prepare(cfg, tmp_path / "two", tmp_path).sha256 == data.sha256


def test_without_a_validation_part_the_test_set_is_the_validation_set(cfg, tmp_path):
    cfg.prepare.validation_size = 0
    data = prepare(cfg, tmp_path / "one", tmp_path)
    assert data.validates_on_test
    assert len(data.arrays("train")[0]) == 1500
    np.testing.assert_array_equal(data.arrays("validation")[0], data.arrays("test")[0])


def test_data_that_changed_on_disk_is_refused_at_every_reading(cfg, tmp_path):
    """A run reads its data several times, minutes apart; a `dvc repro` in between must not go unnoticed."""
    data = prepare(cfg, tmp_path / "one", tmp_path)
    data.arrays("train")
    cfg.prepare.split_seed = 1
    prepare(cfg, tmp_path / "one", tmp_path)
    with pytest.raises(InputError, match="not as prepare wrote it"):
        data.arrays("test")
    data.archive.unlink()
    with pytest.raises(InputError, match="no prepared data here"):
        data.arrays("test")


def test_a_class_that_two_parts_cannot_share_is_refused(cfg, tmp_path):
    raw = load_images("digits", tmp_path)
    labels = np.where(np.arange(1500) < 2, 0, np.maximum(raw.y_train, 1))
    np.savez(tmp_path / "own.npz", **raw._replace(y_train=labels)._asdict())
    cfg.prepare.source, cfg.prepare.validation_size, cfg.prepare.train_size = str(tmp_path / "own.npz"), 600, 300
    with pytest.raises(InputError, match="^prepare: 300 of 900 images cannot be drawn, stratified: The"):
        prepare(cfg, tmp_path / "one", tmp_path)
