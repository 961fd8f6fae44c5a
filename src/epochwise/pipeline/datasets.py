"""The prepared data that a configuration asks for: checked before it is made, made once, checked before it is used."""

import functools
import hashlib
import json
from contextlib import suppress
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from epochwise.common.errors import InputError
from epochwise.common.files import file_digest
from epochwise.common.locks import locked
from epochwise.config.limits import check_network
from epochwise.data import sources
from epochwise.data.images import SourceShape
from epochwise.data.prepare import prepare
from epochwise.data.prepared import META, DataMeta, PreparedData
from epochwise.data.split import check_split
from epochwise.pipeline.directories import cache_folder


def check_data(cfg: DictConfig) -> None:
    """Raise InputError if the source is missing or damaged, or if its size does not fit `cfg`. Downloads nothing."""
    source = cfg.prepare.source
    shape = _shape(source, sources.content_identity(source), cache_folder())
    sources.class_names(source, shape.classes)
    check_split(cfg, shape)
    check_network(cfg, shape.image)


def prepared_for(cfg: DictConfig) -> PreparedData:
    """The data that `cfg` asks for, prepared once by this code and kept in the cache, where `dvc repro` leaves it."""
    code = [file_digest(path) for path in sorted(Path(sources.__file__).parent.glob("*.py"))]
    decisive = [OmegaConf.to_container(cfg.prepare), sources.content_identity(cfg.prepare.source), code]
    key = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache_folder() / "prepared" / key
    kept = _kept(folder)
    if kept:  # without a lock, which a project that may only be read has not
        return kept
    with locked(folder / ".lock"):
        return _kept(folder) or prepare(cfg, folder, cache_folder())


def _kept(folder: Path) -> PreparedData | None:
    """The prepared data in a folder of the cache; None if there is none, or if it is damaged."""
    if not (folder / META).is_file():
        return None
    with suppress(InputError):
        kept = PreparedData(folder, DataMeta.read(folder))
        if kept.archive.is_file() and file_digest(kept.archive) == kept.sha256:
            return kept
    return None


def describe_data(data: PreparedData) -> str:
    """How many images there are and of what shape, in a line."""
    meta = data.meta
    counts = f"{meta.train_images} train, {meta.validation_images} validation, {meta.test_images} test"
    note = ""
    if data.validates_on_test:
        note = "; the test set doubles as validation"
    elif meta.source == sources.DIGITS:  # otherwise the lower test accuracy looks like a fault
        note = "; other people wrote the test images, so test accuracy is lower than val_accuracy"
    return f"{counts} images of {'×'.join(map(str, meta.image_shape))}, {meta.classes} classes{note}"


def open_prepared(folder: Path, wanted: DictConfig) -> PreparedData:
    """The prepared data in `folder`. Raises InputError if there is none, or if it was not made as `wanted` says."""
    if not (folder / META).is_file():
        raise InputError(f"{folder}: no prepared data here; run `dvc repro prepare` first")
    meta = DataMeta.read(folder)
    made_with = {str(key): meta.prepare.get(str(key)) for key in wanted}
    other = [f"prepare.{key}={value!r}" for key, value in made_with.items() if value != wanted[key]]
    if other:
        raise InputError(
            f"{folder}: was prepared with {', '.join(other)}, not with what is asked for; "
            "run `epochwise prepare` with the same parameters, or `dvc repro prepare`, first"
        )
    return PreparedData(folder, meta)


def check_source_unchanged(folder: Path, wanted: DictConfig) -> None:
    """Raise InputError if the data in `folder` was made as `wanted` says, but from another content of the source.

    DVC cannot see this: only params.yaml says which file the source is, if it is a file.
    """
    if not (folder / META).is_file():
        return
    meta = DataMeta.read(folder)
    if meta.prepare == OmegaConf.to_container(wanted) and meta.source != sources.content_identity(wanted.source):
        raise InputError(f"{folder}: {wanted.source} has changed since it was prepared; run `dvc repro -f prepare`")


@functools.lru_cache(maxsize=64)
def _shape(source: str, content: str, cache: Path) -> SourceShape:
    """The shape of a source with this content: a grid asks for it at every point."""
    return sources.shape_of(source, cache)
