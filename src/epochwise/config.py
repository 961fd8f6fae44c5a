"""One configuration: params.yaml under a typed schema, presets and overrides on top, refused early when wrong.

`params.yaml` holds every value that changes a result, `conf/` how to run. Hydra composes both, so that a key is the
same in the file, in `dvc exp run -S` and on the command line.
"""

import difflib
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from epochwise import InputError

PRECISIONS = ("float32", "mixed_bfloat16")
MAX_SEED = 2**31 - 1  # TensorFlow's stateless ops take int32 seeds


@dataclass
class Prepare:
    source: str = MISSING
    validation_size: int = MISSING
    split_seed: int = MISSING


@dataclass
class Model:
    filters: list[int] = MISSING
    kernel_size: int = MISSING
    pool_size: int = MISSING
    conv_dropout: float = MISSING
    dense_dropout: float = MISSING
    dense_units: int = MISSING


@dataclass
class Train:
    epochs: int = MISSING
    batch_size: int = MISSING
    learning_rate: float = MISSING
    threads: int = MISSING
    precision: str = MISSING


@dataclass
class Params:
    """What params.yaml holds; no field has a value here, so that none is written twice."""

    seed: int = MISSING
    prepare: Prepare = field(default_factory=Prepare)
    model: Model = field(default_factory=Model)
    train: Train = field(default_factory=Train)


@dataclass
class Tracking:
    enabled: bool = MISSING
    experiment: str = MISSING


@dataclass
class Config(Params):
    """The whole configuration: the parameters, and from conf/ how to run."""

    tracking: Tracking = field(default_factory=Tracking)


def find_root() -> Path:
    """The project of the working directory: the first folder upwards with params.yaml and conf/.

    Never that of the installed code: DVC runs stages in copies of the project. Raises InputError if there is none.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "params.yaml").is_file() and (folder / "conf").is_dir():
            return folder
    raise InputError(f"{here}: no project here; run this in a folder with params.yaml and conf/, or below it")


def main_root() -> Path:
    """Where what outlives a copy of the project is kept; `dvc exp run` names its main checkout in DVC_ROOT."""
    return Path(os.environ.get("DVC_ROOT") or find_root()).resolve()


def register() -> None:
    """Give Hydra the schema and params.yaml. Raises InputError if the file is not readable YAML or has unknown keys."""
    from hydra.core.config_store import ConfigStore

    path = find_root() / "params.yaml"
    try:
        params = OmegaConf.load(path)
    except Exception as error:  # OmegaConf passes on whatever the YAML parser, the file system or a decoder raises
        raise InputError(f"params.yaml: not readable: {' '.join(str(error).split())}") from error
    if not isinstance(params, DictConfig):
        raise InputError("params.yaml: must be a mapping of keys to values")
    _refuse_unknown(_leaves(params), "params.yaml", _leaves(OmegaConf.structured(Params)))
    store = ConfigStore.instance()
    store.store("schema", Config)
    store.store("params", params, provider="params.yaml")


def load(overrides: list[str]) -> DictConfig:
    """Compose and check the configuration for Hydra `overrides`. Raises InputError with one line if it is wrong."""
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException

    register()
    _refuse_bad_overrides(overrides)
    try:
        with initialize_config_dir(str(find_root() / "conf"), version_base="1.3"):
            cfg = compose("config", overrides)
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(_composition_problem(error)) from error
    check(cfg, overrides)
    return cfg


def check(cfg: DictConfig, overrides: list[str] = ()) -> None:
    """Refuse missing and unknown keys and values out of range, all before any data is read. Raises InputError."""
    _refuse_unknown(_leaves(cfg), "the configuration", _leaves(OmegaConf.structured(Config)))
    missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        raise InputError(f"params.yaml: lacks {', '.join(missing)}")
    for key, allowed, right in _rules(cfg):
        if not allowed:
            raise InputError(f"{key} must be {right}, got {OmegaConf.select(cfg, key)} ({_place(key, overrides)})")


def _rules(cfg: DictConfig) -> Iterator[tuple[str, bool, str]]:
    """Key, whether its value is allowed, what would be right."""
    model, train = cfg.model, cfg.train
    yield "seed", 0 <= cfg.seed <= MAX_SEED, f"in 0…{MAX_SEED}"
    yield "prepare.split_seed", 0 <= cfg.prepare.split_seed <= MAX_SEED, f"in 0…{MAX_SEED}"
    yield "prepare.validation_size", cfg.prepare.validation_size >= 0, "0 or more"
    yield "model.filters", len(model.filters) == 2 and min(model.filters) >= 1, "two whole numbers of 1 or more"
    for key in ("kernel_size", "pool_size", "dense_units"):
        yield f"model.{key}", model[key] >= 1, "1 or more"
    for key in ("conv_dropout", "dense_dropout"):
        yield f"model.{key}", 0 <= model[key] < 1, "in [0, 1)"
    for key in ("epochs", "batch_size", "threads"):
        yield f"train.{key}", train[key] >= 1, "1 or more"
    yield "train.learning_rate", 0 < train.learning_rate < math.inf, "a number above 0"
    yield "train.precision", train.precision in PRECISIONS, " or ".join(PRECISIONS)


def check_against_data(cfg: DictConfig, images: int, image_shape: tuple[int, ...], classes: int) -> None:
    """Refuse what does not fit `images` training images of `image_shape`, H×W×C. Raises InputError."""
    size = cfg.prepare.validation_size
    if size and not classes <= size <= images - classes:
        raise InputError(
            f"prepare.validation_size must be 0, or {classes}…{images - classes} for the {images} training images and "
            f"{classes} classes of {cfg.prepare.source}, got {size}"
        )
    kernel, pool = cfg.model.kernel_size, cfg.model.pool_size
    smallest = min(image_shape[:2])
    left = smallest - 2 * (kernel - 1)
    if left < 1:
        raise InputError(
            f"model.kernel_size must be {(smallest + 1) // 2} or less for two convolutions of {smallest} pixels, "
            f"got {kernel}"
        )
    if pool > left:
        raise InputError(f"model.pool_size must be {left} or less for the {left} pixels that it pools, got {pool}")


def parameters(cfg: DictConfig) -> dict[str, object]:
    """Every parameter of a configuration by its dotted key, as params.yaml names it."""
    values = {key: OmegaConf.select(cfg, key) for key in parameter_keys()}
    return {key: list(value) if OmegaConf.is_list(value) else value for key, value in values.items()}


def parameter_keys() -> list[str]:
    return list(_leaves(OmegaConf.structured(Params)))


def as_overrides(cfg: DictConfig) -> list[str]:
    """The parameters as command-line overrides that compose to the same configuration whatever params.yaml says."""
    return [f"{key}={_override_text(value)}" for key, value in parameters(cfg).items()]


def grid(overrides: list[str]) -> list[list[str]]:
    """The jobs of a multirun, each its list of overrides, in Hydra's own order. Raises InputError on bad syntax."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    parsed = _parse(overrides)
    return [job for batch in BasicSweeper.split_arguments(parsed, None) for job in batch]


def _override_text(value: object) -> str:
    if isinstance(value, list):
        return f"[{','.join(_override_text(item) for item in value)}]"
    if isinstance(value, str) and not value.replace("_", "").isalnum():
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return str(value)


def _leaves(cfg: DictConfig, prefix: str = "") -> dict[str, None]:
    """Dotted keys of all values, in order. (A dict, as an ordered set.)"""
    keys = {}
    for key in cfg:
        node = None if OmegaConf.is_missing(cfg, key) else cfg._get_node(key)
        keys |= _leaves(node, f"{prefix}{key}.") if isinstance(node, DictConfig) else {f"{prefix}{key}": None}
    return keys


def _refuse_unknown(keys: dict[str, None], where: str, known: dict[str, None]) -> None:
    for key in keys:
        if key not in known:
            raise InputError(f"{where}: unknown key {key}{_nearest(key, list(known))}")


def _nearest(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.7)
    if not near:
        near = difflib.get_close_matches(key.split(".")[-1], [name.split(".")[-1] for name in known], n=1, cutoff=0.6)
        near = [name for name in known if near and name.split(".")[-1] == near[0]]
    return f"; did you mean {near[0]}?" if near else ""


def _parse(overrides: list[str]) -> list:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import OverrideParseException

    try:
        return OverridesParser.create().parse_overrides(list(overrides))
    except OverrideParseException as error:
        raise InputError(f"not an override: {error.override}; write key=value") from error


def _groups() -> list[str]:
    conf = find_root() / "conf"
    return [str(folder.relative_to(conf)) for folder in conf.rglob("*") if folder.is_dir()]


def _refuse_bad_overrides(overrides: list[str]) -> None:
    leaves = _leaves(OmegaConf.structured(Config))
    nodes = {".".join(key.split(".")[:depth]) for key in leaves for depth in range(1, key.count(".") + 1)}
    groups = _groups()
    for override in _parse(overrides):
        key = override.key_or_group
        if key in groups:
            _refuse_unknown_choice(key, override)
        elif key not in leaves and key not in nodes and key.split(".")[0].split("/")[0] != "hydra":
            raise InputError(f"command line: unknown key {key}{_nearest(key, [*leaves, *groups])}")


def _refuse_unknown_choice(group: str, override) -> None:
    choices = sorted(path.stem for path in (find_root() / "conf" / group).glob("*.yaml"))
    if override.is_sweep_override() or override.value() is None or group.startswith("hydra"):
        return
    if str(override.value()) not in choices:
        raise InputError(f"command line: no preset {group}={override.value()}; there is {', '.join(choices)}")


def _composition_problem(error: Exception) -> str:
    """Hydra's and OmegaConf's messages run over several lines and name the key last; one line, key first."""
    chain = [error]
    while chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)
    lines = [line.strip() for line in str(chain[-1]).splitlines() if line.strip() and not line.startswith("In '")]
    key = next((line.removeprefix("full_key: ") for line in lines if line.startswith("full_key: ")), "")
    first = next(iter(lines), type(error).__name__)
    place = "params.yaml" if str(error).startswith("In 'params'") else "configuration"
    return f"{place}: {key + ': ' if key else ''}{first}"


def _place(key: str, overrides: list[str]) -> str:
    parsed = _parse(list(overrides))
    if any(override.key_or_group == key for override in parsed):
        return "command line"
    presets = (f"conf/{override.key_or_group}/{override.value()}.yaml" for override in parsed)
    for preset in presets:
        path = find_root() / preset
        if path.is_file() and OmegaConf.select(OmegaConf.load(path), key) is not None:
            return preset
    return "params.yaml" if key in parameter_keys() else "conf/config.yaml"
