"""The data that a configuration asks for: checked before it is prepared, kept, and never taken for other data."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from epochwise.common.errors import InputError
from epochwise.common.files import read_json, write_json
from epochwise.common.locks import locked
from epochwise.config.compose import load
from epochwise.data import sources
from epochwise.data.images import RawImages, ReadOptions
from epochwise.data.own_files import Reader
from epochwise.data.prepare import prepare
from epochwise.data.prepared import META
from epochwise.data.sources import content_identity, load_images
from epochwise.pipeline import datasets
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


@pytest.fixture
def own(cfg, tmp_path) -> Callable[[int], None]:
    """Writes the source that `cfg` names, with its training images moved by a number."""
    raw = load_images("digits", tmp_path)
    cfg.prepare.source = str(tmp_path / "own.npz")

    def write(shift: int) -> None:
        np.savez(tmp_path / "own.npz", **raw._replace(x_train=np.roll(raw.x_train, shift, axis=0))._asdict())

    write(0)
    return write


@pytest.mark.parametrize("checked_before", [False, True])
def test_a_source_that_is_replaced_while_its_turn_is_waited_for_is_refused(cfg, own, monkeypatch, checked_before):
    """Or what is kept under the name of one content would be another."""
    before = content_identity(cfg.prepare.source)
    if checked_before:
        check_data(cfg)

    @contextmanager
    def waiting(path: Path) -> Iterator[None]:
        own(1)
        with locked(path):
            yield

    with monkeypatch.context() as patched:
        patched.setattr(datasets, "locked", waiting)
        with pytest.raises(InputError, match="own.npz changed while it was read; run this again when it is complete"):
            prepared_for(cfg)
    second = prepared_for(cfg)
    assert second.meta.source == content_identity(cfg.prepare.source) != before
    own(0)
    first = prepared_for(cfg)
    assert first.meta.source == before
    expected = prepare(cfg, first.folder.parent / "alone", first.folder)
    assert first.sha256 == expected.sha256 != second.sha256


def test_a_source_that_is_replaced_while_it_is_read_is_refused(cfg, own, monkeypatch, tmp_path):
    reader_of = sources.reader_of

    def replaced(path: Path) -> Reader:
        reader = reader_of(path)
        read = reader.read

        class Replaced:
            files = reader.files

            def read(self, options: ReadOptions) -> RawImages:
                own(1)
                return read(options)

        return Replaced()

    monkeypatch.setattr(sources, "reader_of", replaced)
    for refuse in (lambda: check_data(cfg), lambda: prepare(cfg, tmp_path / "one", tmp_path)):
        own(0)
        with pytest.raises(InputError, match="own.npz changed while it was read"):
            refuse()
    assert not (tmp_path / "one" / "data.npz").exists()


def test_kept_data_of_another_content_is_not_used(cfg, own):
    kept = prepared_for(cfg)
    write_json(kept.folder / META, read_json(kept.folder / META) | {"source": "another content"})
    assert prepared_for(cfg) == kept


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
