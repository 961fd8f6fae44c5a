"""Which values are allowed. Checked before any data is read."""

import math
from collections.abc import Iterator, Sequence

from omegaconf import DictConfig, OmegaConf

from epochwise.common.errors import InputError
from epochwise.common.paths import find_root
from epochwise.config import overrides
from epochwise.config.schema import all_keys, leaf_keys

PRECISIONS = ("float32", "mixed_bfloat16")
INT32_MAX = 2**31 - 1  # TensorFlow's stateless random ops take int32 seeds
MAX_SIDE = 4096  # pixels; ten such images in colour take half a gigabyte
MAX_THREADS = 1024  # TensorFlow starts as many threads as it is asked for, so a typing error must not get through


def check_values(cfg: DictConfig, typed: Sequence[str] = ()) -> None:
    """Refuse missing keys, unknown keys and values out of range.

    `typed` are the overrides that `cfg` was composed from; an error names the one that gave the wrong value.
    Raises InputError.
    """
    given = leaf_keys(cfg)
    for key in given:
        if key not in all_keys():
            raise InputError(f"configuration: {unknown_key(key, all_keys())}")
    missing = [key for key in all_keys() if key not in given or OmegaConf.select(cfg, key) is None]
    if missing:
        raise InputError(f"configuration: lacks {', '.join(missing)}; params.yaml gives every parameter a value")
    for key, allowed, limit in _limits(cfg):
        if not allowed:
            origin = overrides.origin(key, typed, find_root() / "conf")
            raise InputError(f"{key} must be {limit}, got {OmegaConf.select(cfg, key)!r} ({origin})")


def unknown_key(key: str, known: Sequence[str]) -> str:
    """What is wrong with a key that is not `known`."""
    inside = [other for other in known if other.startswith(f"{key}.")]
    if inside:
        return f"{key} must be a mapping, with {', '.join(inside)}"
    return f"unknown key {key}{overrides.did_you_mean(key, known)}"


def check_network(cfg: DictConfig, image_shape: Sequence[int]) -> None:
    """Refuse a kernel or a pool that is larger than what it is applied to, for images of H×W×C. Raises InputError."""
    kernel, pool, side = cfg.model.kernel_size, cfg.model.pool_size, min(image_shape[:2])
    left = side - 2 * (kernel - 1)  # pixels after two convolutions without padding
    if left < 1:
        raise InputError(
            f"model.kernel_size must be {(side + 1) // 2} or less for two convolutions of {side} pixels, got {kernel}"
        )
    if pool > left:
        raise InputError(f"model.pool_size must be {left} or less for the {left} pixels that it pools, got {pool}")


def _limits(cfg: DictConfig) -> Iterator[tuple[str, bool, str]]:
    """For each limited key: the key, whether its value is allowed, and what would be allowed."""
    model, train = cfg.model, cfg.train
    yield "seed", 0 <= cfg.seed <= INT32_MAX, f"in 0…{INT32_MAX}"
    yield "prepare.split_seed", 0 <= cfg.prepare.split_seed <= INT32_MAX, f"in 0…{INT32_MAX}"
    for key in ("validation_size", "train_size", "test_size"):
        yield f"prepare.{key}", cfg.prepare[key] >= 0, "0 or more"
    yield "prepare.pixel_max", 0 <= cfg.prepare.pixel_max < math.inf, "a number of 0 or more"
    size = cfg.prepare.image_size
    yield "prepare.image_size", size == 0 or 2 <= size <= MAX_SIDE, f"0, or in 2…{MAX_SIDE}"
    yield "model.filters", len(model.filters) == 2 and min(model.filters) >= 1, "two whole numbers of 1 or more"
    for key in ("kernel_size", "pool_size", "dense_units"):
        yield f"model.{key}", model[key] >= 1, "1 or more"
    for key in ("conv_dropout", "dense_dropout"):
        yield f"model.{key}", 0 <= model[key] < 1, "in [0, 1)"
    for key, largest in (("epochs", INT32_MAX), ("batch_size", INT32_MAX), ("threads", MAX_THREADS)):
        yield f"train.{key}", 1 <= train[key] <= largest, f"in 1…{largest}"
    yield "train.learning_rate", 0 < train.learning_rate < math.inf, "a number above 0"
    yield "train.decay_every", 0 <= train.decay_every <= INT32_MAX, f"in 0…{INT32_MAX}"
    yield "train.decay_factor", 0 < train.decay_factor <= 1, "above 0 and at most 1"
    yield "train.cooldown_epochs", 0 <= train.cooldown_epochs <= train.epochs, f"in 0…{train.epochs} (train.epochs)"
    yield "train.precision", train.precision in PRECISIONS, " or ".join(PRECISIONS)
    yield "trajectories.max_gb", 0 <= cfg.trajectories.max_gb < math.inf, "a number of 0 or more"
    yield "tracking.experiment", bool(cfg.tracking.experiment.strip()), "a name"
