"""The prepared data that a configuration asks for: checked before it is made, made once, checked before it is used."""

import functools
import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from epochwise.common.errors import InputError
from epochwise.common.files import file_digest
from epochwise.common.locks import locked
from epochwise.common.paths import find_root
from epochwise.config.limits import check_network
from epochwise.data import sources
from epochwise.data.images import ReadOptions, Source
from epochwise.data.prepare import prepare
from epochwise.data.prepared import META, DataMeta, PreparedData
from epochwise.data.split import check_split
from epochwise.pipeline.directories import cache_folder
from epochwise.training.network_source import arguments_of, is_own, read_source


def check_data(cfg: DictConfig) -> list[str]:
    """Raise InputError if the source is missing or damaged, or if its size does not fit `cfg`. Downloads nothing.

    Returns lines to print: what prepare changes in the source, and what a user should know of it. A source that must be
    read for that is kept until it is prepared, so that it is read once. Of an own network only the text is read;
    `pipeline/own_networks.py` builds it.
    """
    if is_own(cfg.model.network):
        arguments_of(read_source(cfg.model.network, find_root()), cfg.model)
    source = cfg.prepare.source
    if sources.is_named(source):
        shape, lines = sources.shape_of_named(source, ReadOptions.of(cfg.prepare)), list[str]()
    else:
        content = sources.content_identity(source)
        if kept := _kept(_kept_folder(cfg, content), content):
            check_network(cfg, kept.image_shape)  # it was split when it was prepared
            return describe_changes(kept)
        read = _read(source, content, ReadOptions.of(cfg.prepare))
        shape, lines = read.shape, _lines(read.conversions, read.notes)
    check_split(cfg, shape)
    check_network(cfg, shape.image)
    return lines


def shape_and_classes(cfg: DictConfig) -> tuple[tuple[int, ...], int]:
    """The H×W×C of the source's images, and how many classes there are. Raises InputError if it cannot be read."""
    source, options = cfg.prepare.source, ReadOptions.of(cfg.prepare)
    if sources.is_named(source):
        named = sources.shape_of_named(source, options)
        return named.image, named.classes
    content = sources.content_identity(source)
    if kept := _kept(_kept_folder(cfg, content), content):
        return tuple(kept.image_shape), kept.meta.classes
    read = _read(source, content, options).shape
    return read.image, read.classes


def prepare_once(cfg: DictConfig, folder: Path) -> PreparedData:
    """Prepare the data that `cfg` asks for into `folder`, from the source as `check_data` has read it."""
    return _prepare(cfg, folder, sources.content_identity(cfg.prepare.source))


def prepared_for(cfg: DictConfig) -> PreparedData:
    """The data that `cfg` asks for, prepared once by this code and kept in the cache, where `dvc repro` leaves it."""
    content = sources.content_identity(cfg.prepare.source)
    folder = _kept_folder(cfg, content)
    kept = _intact(folder, content)
    if kept:  # without a lock, which a project that may only be read has not
        return kept
    with locked(folder / ".lock"):
        return _intact(folder, content) or _prepare(cfg, folder, content)


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


def describe_changes(data: PreparedData) -> list[str]:
    """Lines that say what prepare has changed in the source, and what a user should know of it."""
    return _lines(data.meta.conversions, data.meta.notes)


def open_prepared(folder: Path, wanted: DictConfig) -> PreparedData:
    """The prepared data in `folder`. Raises InputError if there is none, or if it was not made as `wanted` says."""
    if not (folder / META).is_file():
        raise InputError(f"{folder}: no prepared data here; run `dvc repro prepare` first")
    meta = DataMeta.read(folder)
    described = asdict(ReadOptions()) | meta.prepare  # data that was prepared before there were these has none of them
    made_with = {str(key): described.get(str(key)) for key in wanted}
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


def _prepare(cfg: DictConfig, folder: Path, content: str) -> PreparedData:
    """Prepare the source with this content. Raises InputError if the source has another one by now."""
    source = cfg.prepare.source
    try:
        read = None if sources.is_named(source) else _read(source, content, ReadOptions.of(cfg.prepare))
        return prepare(cfg, folder, cache_folder(), read)
    finally:
        _read.cache_clear()  # a training needs the memory


def _kept_folder(cfg: DictConfig, content: str) -> Path:
    """The folder of the cache for what this code prepares from this content with these parameters."""
    code = [file_digest(path) for path in sorted(Path(sources.__file__).parent.glob("*.py"))]
    decisive = [OmegaConf.to_container(cfg.prepare), content, code]
    key = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]
    return cache_folder() / "prepared" / key


def _kept(folder: Path, content: str) -> PreparedData | None:
    """What a folder of the cache says it has; None if it has nothing of this content, or no readable description."""
    try:
        kept = PreparedData(folder, DataMeta.read(folder))
    except InputError:
        return None
    return kept if kept.meta.source == content else None


def _intact(folder: Path, content: str) -> PreparedData | None:
    """What a folder of the cache has; None if it has nothing of this content, or if that is damaged."""
    kept = _kept(folder, content)
    return kept if kept and kept.archive.is_file() and file_digest(kept.archive) == kept.sha256 else None


@functools.lru_cache(maxsize=1)
def _read(source: str, content: str, options: ReadOptions) -> Source:
    """The source with this content: it is checked, often for each point of a grid, and then prepared.

    Raises InputError if the source has another content by now.
    """
    read = sources.load_source(source, cache_folder(), options)
    if read.content != content:
        raise sources.changed(source)
    return read


def _lines(conversions: list[str], notes: list[str]) -> list[str]:
    return [*([f"converted: {'; '.join(conversions)}"] if conversions else []), *(f"note: {note}" for note in notes)]
