"""Compose the configuration with Hydra: params.yaml under a typed schema, then presets, then overrides.

`params.yaml` holds every value that changes a result, `conf/` how to run. A key is therefore the same in the file, in
`dvc exp run -S` and on the command line.
"""

import copy
import functools
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from epochwise.common.errors import InputError
from epochwise.common.paths import find_root
from epochwise.config import overrides
from epochwise.config.limits import NULL_OR_NUMBER, check_values, unknown_key, without_password
from epochwise.config.params_file import read_params
from epochwise.config.schema import all_keys, is_parameter, leaf_keys, open_schema, parameter_keys, parameters

NUMBER = {"Integer": "a whole number", "Float": "a number"}  # OmegaConf's types
# Messages of OmegaConf and Hydra that speak of their own types, and in plain words what they say of the key and of what
# the pattern has found. Other messages stay as they are.
PLAIN: tuple[tuple[re.Pattern[str], Callable[..., str]], ...] = (
    (
        re.compile(r"^Value (.*) of type '\w+' could not be converted to (Integer|Float)$"),
        lambda key, value, kind: f"{key} must be {NULL_OR_NUMBER.get(key, NUMBER[kind])}, got {value}",
    ),
    (
        re.compile(r"^Value (.*) is not a valid bool \(type \w+\)$"),
        lambda key, value: f"{key} must be true or false, got {value}",
    ),
    (
        re.compile(r"^Cannot convert '\w+' to string: (.*)$"),
        lambda key, value: f"{key} must be a text, got {value}",
    ),
    (
        re.compile(r"^Invalid value assigned: (\w+) is not a ListConfig"),
        lambda key, kind: f"{key} must be a list, such as [1,2], got a value of type {kind}",
    ),
    (
        re.compile(r"^Invalid type assigned: (\w+) is not a subclass of \w+\. value: (.*)$"),
        lambda key, kind, value: f"{key} must be a mapping with keys of its own, got {value}",
    ),
    (
        re.compile(r"^Cannot (?:assign|merge) .*(?:Dict\[|DictConfig with )"),
        lambda key: f"{key} must be a mapping with keys of its own",
    ),
    (re.compile(r"^field '.*' is not Optional$"), lambda key: f"{key} must have a value, got null"),
    (
        re.compile(r"^Key '.*' (?:is not in struct|not in '\w+')$"),
        lambda key: f"unknown key {key}; with a plus it is added: +{key}=…",
    ),
    (re.compile(r"does not support deletion$"), lambda key: f"{key} cannot be removed; every parameter has a value"),
    (
        re.compile(r"^Could not override '([\w/]+)'\. No match in the defaults list"),
        lambda key, group: f"{group} is chosen with a plus: +{group}=NAME",
    ),
    (
        re.compile(r"^Could not find '(.*)/([^/]*)' Available options in '.*?': (.*)$"),
        lambda key, group, name, options: f"no {group}={name}; there is {', '.join(options.split())}",
    ),
)


def load(typed: Sequence[str]) -> DictConfig:
    """Compose and check the configuration for the overrides `typed`. Raises InputError with one line if it is wrong."""
    return load_jobs([typed])[0]


def load_jobs(jobs: Sequence[Sequence[str]]) -> list[DictConfig]:
    """The configuration of each job of a grid, as `load` gives it. Raises InputError with a line for each wrong job.

    Hydra takes about 0.1 s to compose. So a process does that once for each choice of config groups
    (`experiment=quick`), and overrides of single values are applied to copies by the function that Hydra itself applies
    them with.
    """
    content = register()
    configs, problems = [], []
    for typed in jobs:
        try:
            configs.append(_load_job(typed, content))
        except InputError as error:
            problems.append(f"{without_password(' '.join(typed))}: {error}" if len(jobs) > 1 else str(error))
    if problems:
        raise InputError("\n".join(problems))
    return configs


def hydra_settings(typed: Sequence[str]) -> DictConfig:
    """Hydra's own settings for overrides, none of which is a sweep: mode, launcher, sweeper, directories.

    Raises InputError as `load` does, but does not check values.
    """
    register()
    conf = find_root() / "conf"
    overrides.refuse_unknown(typed, all_keys(), conf)
    try:
        settings: DictConfig = _compose(typed, return_hydra_config=True).hydra
    except InputError:  # of an unknown key, Hydra does not say what would be right
        groups = [str(one.input_line) for one in overrides.parse(typed) if (conf / one.key_or_group).is_dir()]
        overrides.refuse_unknown_settings(typed, _compose(groups, return_hydra_config=True).hydra, conf)
        raise
    overrides.refuse_unknown_settings(typed, settings, conf)
    return settings


def register() -> str:
    """Give Hydra the schema and params.yaml. Raises InputError if the file is not readable or has unknown keys.

    Returns the digest of all files that a configuration is composed from.
    """
    content = _content_digest()
    _register(find_root(), content)
    return content


@functools.lru_cache(maxsize=1)  # Hydra has what was registered last
def _register(root: Path, content: str) -> None:
    params = read_params()
    for key in leaf_keys(params):
        if not is_parameter(key):
            raise InputError(f"params.yaml: {unknown_key(key, parameter_keys(), 'nothing reads it, so remove it')}")
    store = ConfigStore.instance()
    store.store("schema", open_schema())
    store.store("params", params, provider="params.yaml")


def as_overrides(cfg: DictConfig) -> list[str]:
    """All parameters as overrides that compose to the same configuration whatever params.yaml says."""
    return [overrides.as_override(key, value) for key, value in parameters(cfg).items()]


def _load_job(typed: Sequence[str], content: str) -> DictConfig:
    """The configuration of one job. `content` is the digest of the files that it is composed from."""
    conf = find_root() / "conf"
    overrides.refuse_unknown(typed, all_keys(), conf)
    parsed = [override for override in overrides.parse(typed) if not override.key_or_group.startswith("hydra.")]
    groups = tuple(str(override.input_line) for override in parsed if overrides.is_group(override, conf))
    values = [override for override in parsed if not overrides.is_group(override, conf)]
    cfg = _with_values(_composed(find_root(), content, groups), values)
    check_values(cfg, typed)
    return cfg


@functools.lru_cache(maxsize=32)
def _composed(root: Path, content: str, groups: tuple[str, ...]) -> DictConfig:
    """What a choice of config groups composes to. It is shared, so it must not be changed."""
    return _compose(groups)


def _content_digest() -> str:
    """SHA-256 over params.yaml and all files in conf/."""
    root, digest = find_root(), hashlib.sha256()
    for path in (root / "params.yaml", *sorted((root / "conf").rglob("*.yaml"))):
        content = b""
        with suppress(OSError):  # Hydra says what is wrong with a file that cannot be read
            content = path.read_bytes()
        digest.update(f"{path.relative_to(root)} {len(content)} ".encode(errors="surrogateescape") + content)
    return digest.hexdigest()


def _compose(typed: Sequence[str], return_hydra_config: bool = False) -> DictConfig:
    """Compose with Hydra, to which `register` has given schema and parameters."""
    try:
        with _no_running_hydra(), initialize_config_dir(str(find_root() / "conf"), version_base="1.3"):
            return compose("config", list(typed), return_hydra_config)
    except Exception as error:  # Hydra's, OmegaConf's and the YAML parser's errors, and plain ones from inside them
        raise InputError(_composition_problem(error)) from error


@contextmanager
def _no_running_hydra() -> Iterator[None]:
    """Put away the Hydra that runs a search, which composes further jobs while it runs: Hydra allows one at a time."""
    running = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = running


def _with_values(cfg: DictConfig, values: list[Override]) -> DictConfig:
    """A copy of `cfg` with overrides of single values applied and interpolations resolved."""
    changed = copy.deepcopy(cfg)
    try:
        ConfigLoaderImpl._apply_overrides_to_config(values, changed)
        OmegaConf.resolve(changed)
    except Exception as error:  # Hydra's and OmegaConf's errors, and plain ones from inside them
        raise InputError(_composition_problem(error)) from error
    return changed


def _composition_problem(error: BaseException) -> str:
    """One line with the key first. The messages of Hydra and OmegaConf have several lines and name the key last."""
    file = "params.yaml" if str(error).startswith("In 'params'") else "configuration"
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [re.sub(r"^In '.*?': ?", "", line.strip()) for line in str(error).splitlines()]
    lines = [line for line in lines if line and not line.endswith("raised while composing config:")]
    key = next((line.removeprefix("full_key: ") for line in lines if line.startswith("full_key: ")), "")
    text = " ".join(line for line in lines if not line.startswith(("full_key:", "reference_type=", "object_type=")))
    text = text.partition(" Config search path:")[0] or type(error).__name__
    for pattern, plain in PLAIN:
        if found := pattern.search(text):
            return f"{file}: {plain(key, *found.groups())}"
    return f"{file}: {key + ': ' if key else ''}{text}"
