"""The keys of the configuration and their types.

No field has a default: `params.yaml` and `conf/` give every value, so that no value is written twice.
"""

import functools
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING, DictConfig, IntegerNode, OmegaConf

NETWORK, OWN_PARAMETERS = "model.network", "model.parameters"  # the keys of an own network
PATIENCE = "train.patience"  # null: train.epochs alone says where a run ends
WRITEUP = "writeup"  # the value of model.network that is the write-up's network
BEFORE: dict[str, Any] = {  # how a run was made that is older than these parameters
    **{"prepare.test_size": 0, "prepare.pixel_max": 0.0, "prepare.image_size": 0},
    "prepare.transpose": False,
    **{NETWORK: WRITEUP, "train.optimizer": "adam", "train.beta_1": 0.9, "train.beta_2": 0.999, "train.epsilon": 1e-7},
    **{"train.momentum": 0.0, "train.nesterov": False, "train.weight_decay": None, PATIENCE: None},
    **dict.fromkeys(("train.augment.shift", "train.augment.rotation", "train.augment.zoom"), 0.0),
    "train.augment.horizontal_flip": False,
}


@dataclass
class Prepare:
    """Which images are prepared and how they are read, and how many are split off for validation and test."""

    source: str = MISSING
    validation_size: int = MISSING
    train_size: int = MISSING
    split_seed: int = MISSING
    test_size: int = MISSING
    pixel_max: float = MISSING
    image_size: int = MISSING
    transpose: bool = MISSING


@dataclass
class Model:
    """The network: the write-up's with its sizes and dropouts, or one of the user's with parameters of its own."""

    network: str = MISSING
    parameters: dict[str, Any] = field(default_factory=dict)  # has no keys but those that a user gives it
    filters: list[int] = MISSING
    kernel_size: int = MISSING
    pool_size: int = MISSING
    conv_dropout: float = MISSING
    dense_dropout: float = MISSING
    dense_units: int = MISSING


@dataclass
class Augment:
    """How training images are changed at random, anew in each epoch."""

    shift: float = MISSING
    rotation: float = MISSING
    zoom: float = MISSING
    horizontal_flip: bool = MISSING


@dataclass
class TrainParameters:
    """How the network is trained: what decides the weights, together with the seed, the data and the network."""

    epochs: int = MISSING
    batch_size: int = MISSING
    optimizer: str = MISSING
    learning_rate: float = MISSING
    beta_1: float = MISSING
    beta_2: float = MISSING
    epsilon: float = MISSING
    momentum: float = MISSING
    nesterov: bool = MISSING
    weight_decay: float | None = MISSING
    decay_every: int = MISSING
    decay_factor: float = MISSING
    cooldown_epochs: int = MISSING
    patience: int | None = MISSING
    threads: int = MISSING
    precision: str = MISSING
    augment: Augment = field(default_factory=Augment)


@dataclass
class Parameters:
    """What params.yaml holds: every value that changes a result."""

    seed: int = MISSING
    prepare: Prepare = field(default_factory=Prepare)
    model: Model = field(default_factory=Model)
    train: TrainParameters = field(default_factory=TrainParameters)


@dataclass
class Train(TrainParameters):
    """The parameters of training, and `reuse`, which changes no result."""

    reuse: bool = MISSING


@dataclass
class Trajectories:
    """The state store: a folder or the URL of one, and how large a folder may grow."""

    store: str | None = MISSING
    max_gb: float = MISSING


@dataclass
class Tracking:
    """Whether runs are logged to MLflow, whether a fault of it fails the command, and the MLflow experiment."""

    enabled: bool = MISSING
    required: bool = MISSING
    experiment: str = MISSING


@dataclass
class Sweep:
    """Whether a sweep also runs the jobs that are finished already, and whether processors of several kinds run it."""

    rerun: bool = MISSING
    mixed: bool = MISSING


@dataclass
class Config(Parameters):
    """The whole configuration: the parameters, and from conf/ how to run."""

    train: Train = field(default_factory=Train)
    trajectories: Trajectories = field(default_factory=Trajectories)
    tracking: Tracking = field(default_factory=Tracking)
    sweep: Sweep = field(default_factory=Sweep)


@functools.cache
def parameter_keys() -> tuple[str, ...]:
    """Dotted keys of all parameters, in the order of params.yaml."""
    return leaf_keys(OmegaConf.structured(Parameters))


@functools.cache
def all_keys() -> tuple[str, ...]:
    """Dotted keys of the whole configuration."""
    return leaf_keys(OmegaConf.structured(Config))


def run_setting_keys() -> list[str]:
    """Dotted keys that change no result: tracking, reuse of states and the like."""
    return [key for key in all_keys() if key not in parameter_keys()]


def parameters(cfg: DictConfig) -> dict[str, Any]:
    """Every parameter of a configuration by its dotted key, also those of an own network. Lists are plain lists."""
    keys = [key for key in parameter_keys() if key != OWN_PARAMETERS]
    own = OmegaConf.select(cfg, OWN_PARAMETERS)
    after = keys.index(NETWORK) + 1
    keys[after:after] = [f"{OWN_PARAMETERS}.{name}" for name in own or ()]
    values = {key: OmegaConf.select(cfg, key, default=BEFORE.get(key)) for key in keys}
    return {key: OmegaConf.to_container(value) if OmegaConf.is_list(value) else value for key, value in values.items()}


def is_parameter(key: str) -> bool:
    """Whether a dotted key is that of a parameter, be it one of an own network."""
    return key in parameter_keys() or key.startswith(f"{OWN_PARAMETERS}.")


def open_schema() -> DictConfig:
    """The schema of the whole configuration, in which an own network's parameters can be given without `+`."""
    schema: DictConfig = OmegaConf.structured(Config)
    OmegaConf.set_struct(schema.model.parameters, False)
    return schema


def holds_whole_number(key: str) -> bool:
    """Whether the parameter with this dotted key is one whole number."""
    section, _, last = f"parameters.{key}".rpartition(".")
    node = OmegaConf.select(OmegaConf.create({"parameters": OmegaConf.structured(Parameters)}), section)
    return isinstance(node, DictConfig) and isinstance(node._get_node(last, validate_access=False), IntegerNode)


def leaf_keys(cfg: DictConfig, prefix: str = "") -> tuple[str, ...]:
    """Dotted keys of all values in `cfg`, in order. An empty mapping counts as a value."""
    keys: list[str] = []
    for key in cfg:
        name = prefix + str(key)
        node = None if OmegaConf.is_missing(cfg, key) else cfg._get_node(key)
        if isinstance(node, DictConfig) and len(node):
            keys += leaf_keys(node, f"{name}.")
        else:
            keys.append(name)
    return tuple(keys)
