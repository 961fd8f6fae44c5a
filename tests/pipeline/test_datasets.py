"""The data that a configuration asks for: checked before it is prepared, kept, and never taken for other data."""

import numpy as np
import pytest

from epochwise.common.errors import InputError
from epochwise.config.compose import load
from epochwise.data.prepare import prepare
from epochwise.data.sources import load_images
from epochwise.pipeline.datasets import check_data, check_source_unchanged, open_prepared, prepared_for


@pytest.fixture
def cfg(project):
    return load([])


def test_data_of_other_parameters_is_refused(cfg, tmp_path):
    prepare(cfg, tmp_path / "one", tmp_path)
    cfg.prepare.validation_size = 200
    with pytest.raises(InputError, match="prepare.validation_size=300"):
        open_prepared(tmp_path / "one", cfg.prepare)


def test_own_file_that_changed_since_is_refused_by_check_and_prepared_again_by_run(cfg, tmp_path):
    raw = load_images("digits", tmp_path)
    own = tmp_path / "own.npz"
    np.savez(own, **raw._asdict())
    cfg.prepare.source = str(own)
    prepare(cfg, tmp_path / "one", tmp_path)
    check_source_unchanged(tmp_path / "one", cfg.prepare)
    first = prepared_for(cfg)
    np.savez(own, **raw._replace(x_train=raw.x_train[::-1])._asdict())
    with pytest.raises(InputError, match="has changed since"):
        check_source_unchanged(tmp_path / "one", cfg.prepare)
    assert prepared_for(cfg).sha256 != first.sha256
    assert (first.arrays("train")[0] >= 0).all()


def test_kept_data_that_was_damaged_is_prepared_again(cfg):
    kept = prepared_for(cfg)
    whole = kept.archive.read_bytes()
    kept.archive.write_bytes(whole[:-1])
    assert prepared_for(cfg).archive.read_bytes() == whole


def test_a_class_of_one_image_cannot_be_split(cfg, tmp_path):
    raw = load_images("digits", tmp_path)
    labels = np.where(np.arange(1500) == 0, 0, np.maximum(raw.y_train, 1))
    np.savez(tmp_path / "own.npz", **raw._replace(y_train=labels)._asdict())
    cfg.prepare.source = str(tmp_path / "own.npz")
    with pytest.raises(InputError, match="a class of it has one training image"):
        check_data(cfg)
    cfg.prepare.validation_size = 0
    check_data(cfg)
