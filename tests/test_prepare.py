"""Prepared data: its numbers, its split, its bytes, and the guard against training on other data."""

import numpy as np
import pytest

from epochwise.common.errors import InputError
from epochwise.config import compose as config
from epochwise.data import sources
from epochwise.data.prepare import prepare
from epochwise.pipeline.stages import check_data, check_source, open_prepared, prepared_for


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


def test_data_that_changed_on_disk_is_refused_at_every_reading(cfg, tmp_path):
    """A run reads its data minutes apart; a `dvc repro` in between must not go unnoticed."""
    prepared = prepare(cfg, tmp_path / "one", tmp_path)
    prepared.arrays("train")
    cfg.prepare.split_seed = 1
    prepare(cfg, tmp_path / "one", tmp_path)
    with pytest.raises(InputError, match="not as prepare wrote it"):
        prepared.arrays("test")
    prepared.archive.unlink()
    with pytest.raises(InputError, match="no prepared data here"):
        prepared.arrays("test")


def test_own_file_that_changed_since_is_refused_by_check_and_prepared_anew_by_run(cfg, tmp_path):
    raw = sources.load("digits", tmp_path)
    own = tmp_path / "own.npz"
    np.savez(own, **raw._asdict())
    cfg.prepare.source = str(own)
    prepare(cfg, tmp_path / "one", tmp_path)
    check_source(tmp_path / "one", cfg.prepare)
    first = prepared_for(cfg)
    np.savez(own, **raw._replace(x_train=raw.x_train[::-1])._asdict())
    with pytest.raises(InputError, match="has changed since"):
        check_source(tmp_path / "one", cfg.prepare)
    assert prepared_for(cfg).sha256 != first.sha256
    assert (first.arrays("train")[0] >= 0).all()


def test_kept_data_that_was_damaged_is_prepared_anew(cfg):
    kept = prepared_for(cfg)
    whole = kept.archive.read_bytes()
    kept.archive.write_bytes(whole[:-1])
    assert prepared_for(cfg).archive.read_bytes() == whole


def test_a_class_of_one_image_cannot_be_split(cfg, tmp_path):
    raw = sources.load("digits", tmp_path)
    labels = np.where(np.arange(1500) == 0, 0, np.maximum(raw.y_train, 1))
    np.savez(tmp_path / "own.npz", **raw._replace(y_train=labels)._asdict())
    cfg.prepare.source = str(tmp_path / "own.npz")
    with pytest.raises(InputError, match="a class of it has one training image"):
        check_data(cfg)
    cfg.prepare.validation_size = 0
    check_data(cfg)


def test_a_class_that_two_parts_cannot_share_is_refused(cfg, tmp_path):
    raw = sources.load("digits", tmp_path)
    labels = np.where(np.arange(1500) < 2, 0, np.maximum(raw.y_train, 1))
    np.savez(tmp_path / "own.npz", **raw._replace(y_train=labels)._asdict())
    cfg.prepare.source, cfg.prepare.validation_size, cfg.prepare.train_size = str(tmp_path / "own.npz"), 600, 300
    with pytest.raises(InputError, match="^prepare: 300 of 900 images cannot be drawn, stratified: The"):
        prepare(cfg, tmp_path / "one", tmp_path)


def test_a_relative_source_is_taken_from_the_projects_root(cfg, project, monkeypatch, tmp_path):
    np.savez(project.path / "own.npz", **sources.load("digits", tmp_path)._asdict())
    monkeypatch.chdir(project.path / "conf")
    assert sources.shape_of("own.npz", tmp_path).train == 1500
