"""One configuration: params.yaml under a typed schema, presets and overrides on top, refused early when wrong.

`params.yaml` holds every value that changes a result, `conf/` how to run. Hydra composes both, so that a key is the
same in the file, in `dvc exp run -S` and on the command line.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from omegaconf import MISSING, DictConfig, OmegaConf

from epochwise.common.errors import InputError
from epochwise.common.paths import find_root
from epochwise.data.sources import Shape

PRECISIONS = ("float32", "mixed_bfloat16")
INT32 = 2**31 - 1  # TensorFlow's stateless ops take int32 seeds
MOST_THREADS = 1024  # a sane bound; TensorFlow starts as many as it is told


@dataclass
class Prepare:
    source: str = MISSING
    validation_size: int = MISSING
    train_size: int = MISSING
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
    decay_every: int = MISSING
    decay_factor: float = MISSING
    cooldown_epochs: int = MISSING
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
    required: bool = MISSING
    experiment: str = MISSING


@dataclass
class Training(Train):
    """Train's parameters, and what leaves the result as it is."""

    reuse: bool = MISSING


@dataclass
class Trajectories:
    max_gb: float = MISSING


@dataclass
class Sweep:
    rerun: bool = MISSING


@dataclass
class Config(Params):
    """The whole configuration: the parameters, and from conf/ how to run."""

    train: Training = field(default_factory=Training)
    trajectories: Trajectories = field(default_factory=Trajectories)
    tracking: Tracking = field(default_factory=Tracking)
    sweep: Sweep = field(default_factory=Sweep)


def load(overrides: list[str]) -> DictConfig:
    """Compose and check the configuration for Hydra `overrides`. Raises InputError with one line if it is wrong."""
    cfg = _compose(overrides)
    check(cfg, overrides)
    return cfg


def hydra_settings(overrides: list[str]) -> DictConfig:
    """How Hydra itself is set for `overrides`, none of them a sweep: mode, launcher, sweeper, directories.

    Raises InputError as `load` does, but does not check values.
    """
    return _compose(overrides, return_hydra_config=True).hydra


def _compose(overrides: list[str], return_hydra_config: bool = False) -> DictConfig:
    from hydra import compose, initialize_config_dir

    from epochwise.config.overrides import refuse_unknown

    register()
    refuse_unknown(overrides, list(_leaves(OmegaConf.structured(Config))), find_root() / "conf")
    try:
        with initialize_config_dir(str(find_root() / "conf"), version_base="1.3"):
            cfg = compose("config", overrides, return_hydra_config)
        if not return_hydra_config:  # of which parts are known in a job only
            OmegaConf.resolve(cfg)
    except Exception as error:  # Hydra's, OmegaConf's and the YAML parser's errors, and plain ones from inside them
        raise InputError(_composition_problem(error)) from error
    return cfg


def register() -> None:
    """Give Hydra the schema and params.yaml. Raises InputError if the file is not readable or has unknown keys."""
    from hydra.core.config_store import ConfigStore

    params = read_params()
    known = _leaves(OmegaConf.structured(Params))
    for key in _leaves(params):
        if key not in known:
            raise InputError(f"params.yaml: {_unknown(key, list(known))}")
    store = ConfigStore.instance()
    store.store("schema", Config)
    store.store("params", params, provider="params.yaml")


def read_params() -> DictConfig:
    """params.yaml as it is. Raises InputError if it is not a readable mapping."""
    try:
        params = OmegaConf.load(find_root() / "params.yaml")
    except Exception as error:  # OmegaConf passes on whatever the YAML parser, the file system or a decoder raises
        raise InputError(f"params.yaml: not readable: {' '.join(str(error).split())}") from error
    if not isinstance(params, DictConfig):
        raise InputError("params.yaml: must be a mapping of keys to values")
    return params


def check(cfg: DictConfig, overrides: list[str] = ()) -> None:
    """Refuse missing and unknown keys and values out of range, all before any data is read. Raises InputError."""
    from epochwise.config.overrides import place

    known, given = _leaves(OmegaConf.structured(Config)), _leaves(cfg)
    for key in given:
        if key not in known:
            raise InputError(f"configuration: {_unknown(key, list(known))}")
    missing = [key for key in known if key not in given or OmegaConf.select(cfg, key) is None]
    if missing:
        raise InputError(f"configuration: lacks {', '.join(missing)}; params.yaml gives every parameter a value")
    for key, allowed, right in _rules(cfg):
        if not allowed:
            where = place(key, overrides, find_root() / "conf")
            raise InputError(f"{key} must be {right}, got {OmegaConf.select(cfg, key)!r} ({where})")


def _rules(cfg: DictConfig) -> Iterator[tuple[str, bool, str]]:
    """Key, whether its value is allowed, what would be right."""
    model, train = cfg.model, cfg.train
    yield "seed", 0 <= cfg.seed <= INT32, f"in 0…{INT32}"
    yield "prepare.split_seed", 0 <= cfg.prepare.split_seed <= INT32, f"in 0…{INT32}"
    for key in ("validation_size", "train_size"):
        yield f"prepare.{key}", cfg.prepare[key] >= 0, "0 or more"
    yield "model.filters", len(model.filters) == 2 and min(model.filters) >= 1, "two whole numbers of 1 or more"
    for key in ("kernel_size", "pool_size", "dense_units"):
        yield f"model.{key}", model[key] >= 1, "1 or more"
    for key in ("conv_dropout", "dense_dropout"):
        yield f"model.{key}", 0 <= model[key] < 1, "in [0, 1)"
    for key, most in (("epochs", INT32), ("batch_size", INT32), ("threads", MOST_THREADS)):
        yield f"train.{key}", 1 <= train[key] <= most, f"in 1…{most}"
    yield "train.learning_rate", 0 < train.learning_rate < math.inf, "a number above 0"
    yield "train.decay_every", 0 <= train.decay_every <= INT32, f"in 0…{INT32}"
    yield "train.decay_factor", 0 < train.decay_factor <= 1, "above 0 and at most 1"
    yield "train.cooldown_epochs", 0 <= train.cooldown_epochs <= train.epochs, f"in 0…{train.epochs} (train.epochs)"
    yield "train.precision", train.precision in PRECISIONS, " or ".join(PRECISIONS)
    yield "trajectories.max_gb", 0 <= cfg.trajectories.max_gb < math.inf, "a number of 0 or more"
    yield "tracking.experiment", bool(cfg.tracking.experiment.strip()), "a name"


def check_split(cfg: DictConfig, shape: Shape) -> None:
    """Refuse parts that cannot be split off training data of this shape. Raises InputError."""
    left = shape.train
    for key, of in (("validation_size", "training images"), ("train_size", "images that validation leaves")):
        size, largest = cfg.prepare[key], left - shape.classes
        if size and not shape.classes <= size <= largest:
            raise InputError(
                f"prepare.{key} must be 0, or {shape.classes}…{largest} for the {left} {of} and {shape.classes} "
                f"classes of {cfg.prepare.source}, got {size}"
            )
        if size and shape.smallest_class < 2:
            raise InputError(
                f"prepare.{key} must be 0 for {cfg.prepare.source}, got {size}: a class of it has one training image, "
                "and a stratified split needs two"
            )
        left -= size


def check_network(cfg: DictConfig, image: tuple[int, ...]) -> None:
    """Refuse a kernel or a pool that leaves nothing of an `image` of H×W×C. Raises InputError."""
    kernel, pool, smallest = cfg.model.kernel_size, cfg.model.pool_size, min(image[:2])
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


def how_to_run() -> list[str]:
    """The keys that leave every result as it is."""
    return [key for key in _leaves(OmegaConf.structured(Config)) if key not in parameter_keys()]


def as_overrides(cfg: DictConfig) -> list[str]:
    """The parameters as command-line overrides that compose to the same configuration whatever params.yaml says."""
    from epochwise.config.overrides import text

    return [text(key, value) for key, value in parameters(cfg).items()]


def _leaves(cfg: DictConfig, prefix: str = "") -> dict[str, None]:
    """Dotted keys of all values, in order. (A dict, as an ordered set.)"""
    keys = {}
    for key in cfg:
        node = None if OmegaConf.is_missing(cfg, key) else cfg._get_node(key)
        inside = isinstance(node, DictConfig) and not node._is_none()
        keys |= _leaves(node, f"{prefix}{key}.") if inside else {f"{prefix}{key}": None}
    return keys


def _unknown(key: str, known: list[str]) -> str:
    from epochwise.config.overrides import nearest

    if any(other.startswith(f"{key}.") for other in known):
        return f"{key} must be a mapping, with {', '.join(other for other in known if other.startswith(f'{key}.'))}"
    return f"unknown key {key}{nearest(key, known)}"


def _composition_problem(error: BaseException) -> str:
    """Hydra's and OmegaConf's messages run over several lines and name the key last; one line, key first."""
    place = "params.yaml" if str(error).startswith("In 'params'") else "configuration"
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [re.sub(r"^In '.*?': ?", "", line.strip()) for line in str(error).splitlines()]
    lines = [line for line in lines if line and not line.endswith("raised while composing config:")]
    key = next((line.removeprefix("full_key: ") for line in lines if line.startswith("full_key: ")), "")
    said = " ".join(line for line in lines if not line.startswith(("full_key:", "reference_type=", "object_type=")))
    said = said.partition(" Config search path:")[0] or type(error).__name__
    return f"{place}: {key + ': ' if key else ''}{said}"
