"""Prepared data: its numbers, its split, its bytes, and the guard against training on other data."""

import numpy as np
import pytest

from epochwise import InputError, config, sources
from epochwise.pipeline import open_prepared
from epochwise.prepare import prepare


@pytest.fixture
def cfg(project):
    return config.load([])


def test_images_are_normalised_and_labels_one_hot(cfg, tmp_path):
    prepared = prepare(cfg, tmp_path / "one", tmp_path)
    raw = sources.load("digits", tmp_path)
    images, labels = prepared.arrays("test")
    np.testing.assert_array_equal(images, raw.x_test.astype(np.float32) / np.float32(255))
    assert images.dtype == labels.dtype == np.float32
    np.testing.assert_array_equal(labels.argmax(axis=1), raw.y_test)
    assert (labels.sum(axis=1) == 1).all()
    assert prepared.image_shape == (8, 8, 1)
    assert prepared.classes == 10


def test_split_is_disjoint_whole_and_stratified(cfg, tmp_path):
    prepared = prepare(cfg, tmp_path / "one", tmp_path)
    training, validation = (prepared.arrays(part) for part in ("train", "validation"))
    assert (len(training[0]), len(validation[0])) == (1200, 300)
    together = np.concatenate([training[0], validation[0]]).reshape(1500, -1)
    everything = sources.load("digits", tmp_path).x_train.reshape(1500, -1) / np.float32(255)
    np.testing.assert_array_equal(np.unique(together, axis=0), np.unique(everything, axis=0))
    shares = [labels.mean(axis=0) for _, labels in (training, validation)]
    np.testing.assert_allclose(shares[0], shares[1], atol=0.005)


def test_same_parameters_give_the_same_bytes_and_another_split_others(cfg, tmp_path):
    contents = [prepare(cfg, tmp_path / name, tmp_path).archive.read_bytes() for name in ("one", "two")]
    assert contents[0] == contents[1]
    cfg.prepare.split_seed = 1
    assert prepare(cfg, tmp_path / "three", tmp_path).archive.read_bytes() != contents[0]


def test_without_a_validation_part_the_test_set_is_the_validation_set(cfg, tmp_path):
    cfg.prepare.validation_size = 0
    prepared = prepare(cfg, tmp_path / "one", tmp_path)
    assert prepared.validates_on_test
    assert len(prepared.arrays("train")[0]) == 1500
    np.testing.assert_array_equal(prepared.arrays("validation")[0], prepared.arrays("test")[0])


def test_data_of_other_parameters_is_refused(cfg, tmp_path):
    prepare(cfg, tmp_path / "one", tmp_path)
    cfg.prepare.validation_size = 200
    with pytest.raises(InputError, match="prepare.validation_size=300"):
        open_prepared(tmp_path / "one", cfg.prepare)


def test_data_that_changed_on_disk_is_refused(cfg, tmp_path):
    archive = prepare(cfg, tmp_path / "one", tmp_path).archive
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive.write_bytes(content)
    with pytest.raises(InputError, match="not as prepare wrote it"):
        open_prepared(tmp_path / "one", cfg.prepare)


def test_own_file_that_changed_since_is_refused(cfg, tmp_path):
    raw = sources.load("digits", tmp_path)
    own = tmp_path / "own.npz"
    np.savez(own, **raw._asdict())
    cfg.prepare.source = str(own)
    prepare(cfg, tmp_path / "one", tmp_path)
    open_prepared(tmp_path / "one", cfg.prepare)
    np.savez(own, **raw._replace(x_train=raw.x_train[::-1])._asdict())
    with pytest.raises(InputError, match="has changed since"):
        open_prepared(tmp_path / "one", cfg.prepare)
