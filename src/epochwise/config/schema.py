"""The keys of the configuration and their types.

No field has a default: `params.yaml` and `conf/` give every value, so that no value is written twice.
"""

import functools
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING, DictConfig, IntegerNode, OmegaConf


@dataclass
class Prepare:
    """Which images are prepared, and how many are split off for validation."""

    source: str = MISSING
    validation_size: int = MISSING
    train_size: int = MISSING
    split_seed: int = MISSING


@dataclass
class Model:
    """The sizes and the dropouts of the network."""

    filters: list[int] = MISSING
    kernel_size: int = MISSING
    pool_size: int = MISSING
    conv_dropout: float = MISSING
    dense_dropout: float = MISSING
    dense_units: int = MISSING


@dataclass
class TrainParameters:
    """How the network is trained: what decides the weights, together with the seed, the data and the network."""

    epochs: int = MISSING
    batch_size: int = MISSING
    learning_rate: float = MISSING
    decay_every: int = MISSING
    decay_factor: float = MISSING
    cooldown_epochs: int = MISSING
    threads: int = MISSING
    precision: str = MISSING


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
    """The state store."""

    max_gb: float = MISSING


@dataclass
class Tracking:
    """Whether runs are logged to MLflow, whether a fault of it fails the command, and the MLflow experiment."""

    enabled: bool = MISSING
    required: bool = MISSING
    experiment: str = MISSING


@dataclass
class Sweep:
    """Whether a sweep also runs the jobs that are finished already."""

    rerun: bool = MISSING


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
    """Every parameter of a configuration by its dotted key. Lists are plain lists."""
    values = {key: OmegaConf.select(cfg, key) for key in parameter_keys()}
    return {key: list(value) if OmegaConf.is_list(value) else value for key, value in values.items()}


def holds_whole_number(key: str) -> bool:
    """Whether the parameter with this dotted key is one whole number."""
    section, _, last = f"parameters.{key}".rpartition(".")
    node = OmegaConf.select(OmegaConf.create({"parameters": OmegaConf.structured(Parameters)}), section)
    return isinstance(node, DictConfig) and isinstance(node._get_node(last, validate_access=False), IntegerNode)


def leaf_keys(cfg: DictConfig, prefix: str = "") -> tuple[str, ...]:
    """Dotted keys of all values in `cfg`, in order."""
    keys: list[str] = []
    for key in cfg:
        name = prefix + str(key)
        node = None if OmegaConf.is_missing(cfg, key) else cfg._get_node(key)
        if isinstance(node, DictConfig) and not node._is_none():
            keys += leaf_keys(node, f"{name}.")
        else:
            keys.append(name)
    return tuple(keys)
