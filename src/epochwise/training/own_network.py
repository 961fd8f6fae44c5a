"""Build an own network: execute its file, call its function, and say in one line which of its lines failed."""

import importlib
import sys
import sysconfig
import textwrap
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from omegaconf import DictConfig

from epochwise.common.errors import InputError, one_line
from epochwise.common.processes import ENDING
from epochwise.training.backend import keras
from epochwise.training.network_source import NetworkSource, arguments_of

MODULE = "own_network"  # the name under which the file is executed
LONGEST_REASON = 300  # characters of an error; those of Keras have several lines
LIBRARIES = {"site-packages", "dist-packages"}  # the folders that installed libraries are in
PACKAGE = Path(__file__).resolve().parent.parent


def build_own(
    source: NetworkSource, model: DictConfig, image_shape: Sequence[int], classes: int, precision: str
) -> keras.Model:
    """The Keras model that the function returns for images of H×W×C; layers without a dtype compute in `precision`.

    `model` are the parameters under `model.`. Raises InputError, with the file and line, for whatever the file raises,
    and if the function returns no Keras model.
    """
    arguments = arguments_of(source, model)
    with _executing(source):
        build = _load(source)
        keras.config.set_dtype_policy(precision)
        try:
            built = build(image_shape=tuple(image_shape), classes=classes, **arguments)
            if isinstance(built, keras.Sequential) and not built.built:
                built.build((None, *image_shape))
        finally:
            keras.config.set_dtype_policy("float32")
    if not isinstance(built, keras.Model):
        raise InputError(f"{source.name} must return a Keras model, it returned {type(built).__name__}")
    return built


def _load(source: NetworkSource) -> Any:
    """The function, from its file as it is now: Python's compiled copy of a file can be out of date."""
    path = source.root / source.file
    module = ModuleType(MODULE)
    module.__file__ = str(path)
    sys.modules[MODULE] = module
    exec(compile(path.read_bytes(), path, "exec", dont_inherit=True), module.__dict__)
    return getattr(module, source.function)


@contextmanager
def _executing(source: NetworkSource) -> Iterator[None]:
    """Let the file import its neighbours and modules at the project's root, and forget these modules at the end."""
    known, path, writes_none = set(sys.modules), sys.path[:], sys.dont_write_bytecode
    _refuse_hidden(source)
    sys.path[:0] = [str((source.root / source.file).parent), str(source.root)]
    sys.dont_write_bytecode = True
    importlib.invalidate_caches()
    try:
        with _naming_the_line(source):
            yield
        _refuse_uncovered(source, set(sys.modules) - known)
    finally:
        sys.path[:], sys.dont_write_bytecode = path, writes_none
        for name in set(sys.modules) - known:
            if name == MODULE or _is_local(name, source):
                del sys.modules[name]


@contextmanager
def _naming_the_line(source: NetworkSource) -> Iterator[None]:
    try:
        yield
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit) and error.code in {128 + number for number in ENDING}:  # not from the file
            raise
        covered = _covered(source)
        frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
        if isinstance(error, SyntaxError):
            frames.append((error.filename or "", error.lineno))
        lines = [(Path(file).resolve(), line) for file, line in frames]
        where = [f"{file.relative_to(source.root)}:{line}" for file, line in lines if file in covered]
        reason = textwrap.shorten(one_line(error), LONGEST_REASON, placeholder=" …")
        at = where[-1] if where else source.name
        raise InputError(f"{at}: {type(error).__name__}" + (f": {reason}" if reason else "")) from error


def _refuse_hidden(source: NetworkSource) -> None:
    """Raise InputError if a module of the same name is imported already, for Python would give that one instead."""
    folders = {(source.root / source.file).parent, source.root}
    for file in sorted(_covered(source)):
        name = file.parent.name if file.name == "__init__.py" else file.stem
        top_level = (file.parent.parent if file.name == "__init__.py" else file.parent) in folders
        if top_level and file != source.root / source.file and name in sys.modules:
            raise InputError(f"{file.relative_to(source.root)}: another module is called {name}, too; rename the file")


def _refuse_uncovered(source: NetworkSource, loaded: set[str]) -> None:
    """Raise InputError for a module that is neither installed nor seen by `read_source`: no fingerprint covers it."""
    covered = _covered(source)
    for name in sorted(loaded - {MODULE}):
        file = _file_of(name)
        if file is None or file in covered or _is_installed(file):
            continue
        if file.is_relative_to(PACKAGE):
            raise InputError(f"{source.file}: imports {name}, which can change without the network's fingerprint")
        if file.is_relative_to(source.root):
            raise InputError(
                f"{source.file}: imports {file.relative_to(source.root)} so that it is not seen in the text; "
                f"write `import {name}`"
            )
        raise InputError(f"{source.file}: imports {file}, which is outside the project; copy it into the project")


def _is_local(name: str, source: NetworkSource) -> bool:
    """Whether a module is the project's own: a file in it, or a folder that serves as a package without a file."""
    file = _file_of(name)
    places = [file] if file else map(Path, getattr(sys.modules[name], "__path__", ()))
    return any(place.is_relative_to(source.root) and not _is_installed(place) for place in places)


def _is_installed(file: Path) -> bool:
    python = [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")]
    return bool(LIBRARIES & {*file.parts}) or any(map(file.is_relative_to, python))


def _covered(source: NetworkSource) -> set[Path]:
    return {source.root / name for name in source.files}


def _file_of(name: str) -> Path | None:
    """The file of an imported module; None of one that has none, as those written in C have."""
    file = getattr(sys.modules.get(name), "__file__", None)
    return Path(file).resolve() if isinstance(file, str) else None
