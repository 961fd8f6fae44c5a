"""An own network's file as text: what its function takes, and which files of the project it imports.

Nothing of it is executed here, and no TensorFlow is imported, so that a configuration can be checked and identified at
no cost and no risk.
"""

import ast
import difflib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from epochwise.common.errors import InputError, one_line

COPY_HINT = "in a copy of the project, as `dvc exp run --temp` makes, there are only files that git has: `git add` it"
NETWORK, OWN_PARAMETERS = "model.network", "model.parameters"  # as errors name them
FROM_DATA = ("image_shape", "classes")  # arguments that the data decides; every network's function takes them


class NetworkSource(NamedTuple):
    """A function that builds a network, in a file of the project."""

    root: Path  # the project's
    file: str  # relative to the root, as the next one
    files: tuple[str, ...]  # the file, and those of the project that it imports, directly or not
    function: str
    arguments: tuple[str, ...]  # names of what it takes beside FROM_DATA
    required: tuple[str, ...]  # those of them that have no default
    takes_any: bool  # it has a `**` argument

    @property
    def name(self) -> str:
        """The value of `model.network`, with the shortest path."""
        return f"{self.file}:{self.function}"

    def given(self, shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
        """What the function is called with, beside what the data decides, by the names of its arguments.

        `own` is the value of `model.parameters`; `shared` are the parameters of the write-up's network, which a
        function gets that has an argument of such a name. Raises InputError for an argument that is given twice, or
        not at all, and for a name that the function does not take.
        """
        taken = {name: value for name, value in shared.items() if name in self.arguments}
        for name in own:
            if name in FROM_DATA:
                raise InputError(f"{OWN_PARAMETERS}.{name}: the data decides {name}; leave it out")
            if name in taken:
                raise InputError(f"{OWN_PARAMETERS}.{name}: {self.name} takes model.{name}; give that")
            if name not in self.arguments and not self.takes_any:
                known = ", ".join(self.arguments) or "nothing else"
                raise InputError(
                    f"{OWN_PARAMETERS}.{name}: {self.name} has no argument {name}; "
                    f"beside {' and '.join(FROM_DATA)} it has {known}"
                )
        taken |= own
        lacking = [f"{OWN_PARAMETERS}.{name}" for name in self.required if name not in taken]
        if lacking:
            raise InputError(f"{self.name} needs {', '.join(lacking)}: write it into params.yaml, or as key=value")
        return taken


def arguments_of(source: NetworkSource, model: DictConfig) -> dict[str, Any]:
    """What the function is called with for the configuration's section `model`. Raises InputError as `given` does."""
    shared: Any = OmegaConf.to_container(model)
    own = shared.pop("parameters")
    return source.given(shared, own)


def is_own(network: str) -> bool:
    """Whether this value of `model.network` is FILE.py:FUNCTION, and not the write-up's network."""
    return ":" in network


def read_source(network: str, root: Path) -> NetworkSource:
    """What `model.network` names in the project at `root`. Raises InputError if there is no such function there."""
    typed, _, function = network.rpartition(":")
    root, path = root.resolve(), (root / typed).resolve()
    if Path(typed).is_absolute() and path.is_relative_to(root):
        raise InputError(
            f"{NETWORK}: {typed} is absolute, so no copy of the project could use it; type {path.relative_to(root)}"
        )
    if not path.is_relative_to(root):
        raise InputError(f"{NETWORK}: {typed} is not in the project, where git and DVC would find it; put it into it")
    if not path.is_file():
        others = [other.relative_to(root).as_posix() for other in sorted(path.parent.glob("*.py"))]
        near = difflib.get_close_matches(path.relative_to(root).as_posix(), others, n=1)
        hint = f"did you mean {near[0]}?" if near else COPY_HINT
        raise InputError(f"{NETWORK}: no file {typed} in {root}; {hint}")
    definition = _definition(path, root, function)
    arguments = definition.args
    if arguments.posonlyargs:
        raise InputError(f"{_at(path, root, definition)}: {function} must take its arguments by name; leave out the /")
    by_place = [argument.arg for argument in arguments.args]
    by_name = [argument.arg for argument in arguments.kwonlyargs]
    without_default = by_place[: len(by_place) - len(arguments.defaults)]
    without_default += [name for name, default in zip(by_name, arguments.kw_defaults, strict=True) if default is None]
    names = [*by_place, *by_name]
    lacking = [name for name in FROM_DATA if name not in names and not arguments.kwarg]
    if lacking:
        raise InputError(
            f"{_at(path, root, definition)}: {function} must take {' and '.join(lacking)}: "
            f"def {function}({', '.join(FROM_DATA)}, …)"
        )
    return NetworkSource(
        root=root,
        file=path.relative_to(root).as_posix(),
        files=tuple(file.relative_to(root).as_posix() for file in _with_imports(path, root)),
        function=function,
        arguments=tuple(name for name in names if name not in FROM_DATA),
        required=tuple(name for name in without_default if name not in FROM_DATA),
        takes_any=arguments.kwarg is not None,
    )


def _definition(path: Path, root: Path, function: str) -> ast.FunctionDef:
    """The function's definition at the top level of the file, where it can be seen without executing anything."""
    found = [node for node in _parse(path, root).body if isinstance(node, ast.FunctionDef)]
    named = [node for node in found if node.name == function]
    if not named:
        others = ", ".join(node.name for node in found)
        raise InputError(
            f"{NETWORK}: {path.relative_to(root)} has no `def {function}` at its top level"
            + (f"; it has {others}" if others else "")
        )
    return named[-1]


def _at(path: Path, root: Path, node: ast.FunctionDef) -> str:
    return f"{path.relative_to(root)}:{node.lineno}"


def _parse(path: Path, root: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes(), path)
    except SyntaxError as error:
        raise InputError(f"{path.relative_to(root)}:{error.lineno or 1}: {one_line(error.msg)}") from error
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"{path.relative_to(root)}: not readable as Python ({one_line(error)})") from error


def _with_imports(path: Path, root: Path) -> list[Path]:
    """The file and all files of the project that it imports, directly or not, sorted after the first."""
    seen, waiting = {path}, [path]
    while waiting:
        importing = waiting.pop()
        found = _imported(_parse(importing, root), importing, [path.parent, root])
        new = {file for file in found if file.is_relative_to(root)} - seen
        seen |= new
        waiting += sorted(new)
    return [path, *sorted(seen - {path})]


def _imported(module: ast.Module, importing: Path, folders: Iterable[Path]) -> Iterator[Path]:
    """The files in `folders` that a module imports, wherever in it the import stands."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _files_of(alias.name, folders)
        elif isinstance(node, ast.ImportFrom):
            places = importing.parents[node.level - 1 : node.level] if node.level else folders
            for alias in node.names:  # each may be a module, too
                yield from _files_of(".".join(filter(None, (node.module, alias.name))), places)


def _files_of(module: str, folders: Iterable[Path]) -> list[Path]:
    """The files that are loaded for a module of this dotted name, from the first of the folders that has any."""
    for folder in folders:
        found = []
        for part in module.split("."):
            files = (folder / part / "__init__.py", folder / f"{part}.py")
            found += [file.resolve() for file in files if file.is_file()][:1]
            folder = folder / part
        if found:
            return found
    return []
