"""Which values are allowed. Checked before any data is read."""

import math
import re
from collections.abc import Iterator, Sequence

from omegaconf import DictConfig, ListConfig, OmegaConf

from epochwise.common.errors import InputError
from epochwise.common.paths import find_root
from epochwise.config import overrides
from epochwise.config.schema import NETWORK, OWN_PARAMETERS, PATIENCE, WRITEUP, all_keys, is_parameter, leaf_keys

PRECISIONS = ("float32", "mixed_bfloat16")
OPTIMIZERS = ("adam", "adamw", "sgd")
NULL_OR_NUMBER = {
    PATIENCE: "null or a whole number of 1 or more",
    "train.weight_decay": "null or a number of 0 or more",
}
NULLABLE = (*NULL_OR_NUMBER, "trajectories.store")  # keys that may be null
OWN_NETWORK = re.compile(r"[^:]+\.py:[^\W\d]\w*")  # FILE.py:FUNCTION
INT32_MAX = 2**31 - 1  # TensorFlow's stateless random ops take int32 seeds
PASSWORD = re.compile(r"//[^/\s:]*:(?!\d{1,5}/)\S+@")  # and the user before it, in a URL; not a port and a path
MAX_SIDE = 4096  # pixels; ten such images in colour take half a gigabyte
MAX_THREADS = 1024  # TensorFlow starts as many threads as it is asked for, so a typing error must not get through


def check_values(cfg: DictConfig, typed: Sequence[str] = ()) -> None:
    """Refuse missing keys, unknown keys and values out of range.

    `typed` are the overrides that `cfg` was composed from; an error names the one that gave the wrong value.
    Raises InputError.
    """
    given = leaf_keys(cfg)
    for key in given:
        if key not in all_keys() and not is_parameter(key):
            raise InputError(f"configuration: {unknown_key(key, all_keys())}")
    covered = (*given, OWN_PARAMETERS) if OmegaConf.is_dict(OmegaConf.select(cfg, OWN_PARAMETERS)) else given
    empty = [key for key in all_keys() if key not in NULLABLE and OmegaConf.select(cfg, key) is None]
    missing = [key for key in all_keys() if key not in covered or key in empty]
    if missing:
        raise InputError(f"configuration: lacks {', '.join(missing)}; params.yaml gives every parameter a value")
    for key, allowed, limit in _limits(cfg):
        if not allowed:
            origin = overrides.origin(key, typed, find_root() / "conf")
            raise InputError(without_password(f"{key} must be {limit}, got {OmegaConf.select(cfg, key)!r} ({origin})"))


def unknown_key(key: str, known: Sequence[str], others: str = overrides.KEYS) -> str:
    """What is wrong with a key that is not `known`; see `overrides.did_you_mean`."""
    inside = [other for other in known if other.startswith(f"{key}.")]
    if inside:
        return f"{key} must be a mapping, with {', '.join(inside)}"
    return f"unknown key {key}{overrides.did_you_mean(key, known, others)}"


def check_network(cfg: DictConfig, image_shape: Sequence[int]) -> None:
    """Refuse a kernel or a pool that is larger than what it is applied to, for images of H×W×C. Raises InputError.

    That is of the write-up's network; an own one is checked in `training/network_check.py`, by building it.
    """
    if cfg.model.network != WRITEUP:
        return
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
    model, train, augment = cfg.model, cfg.train, cfg.train.augment
    yield "seed", 0 <= cfg.seed <= INT32_MAX, f"in 0…{INT32_MAX}"
    yield "prepare.split_seed", 0 <= cfg.prepare.split_seed <= INT32_MAX, f"in 0…{INT32_MAX}"
    for key in ("validation_size", "train_size", "test_size"):
        yield f"prepare.{key}", cfg.prepare[key] >= 0, "0 or more"
    yield "prepare.pixel_max", 0 <= cfg.prepare.pixel_max < math.inf, "a number of 0 or more"
    size = cfg.prepare.image_size
    yield "prepare.image_size", size == 0 or 2 <= size <= MAX_SIDE, f"0, or in 2…{MAX_SIDE}"
    named = model.network == WRITEUP or OWN_NETWORK.fullmatch(model.network) is not None
    yield NETWORK, named, f"{WRITEUP} or FILE.py:FUNCTION"
    for name in model.parameters:
        value = None if OmegaConf.is_missing(model.parameters, name) else model.parameters[name]
        yield f"{OWN_PARAMETERS}.{name}", str(name).isidentifier(), "a name that an argument of a function can have"
        yield f"{OWN_PARAMETERS}.{name}", _is_plain(value), "true or false, a number, a text, or a list of these"
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
    yield PATIENCE, train.patience is None or train.patience >= 1, NULL_OR_NUMBER[PATIENCE]
    yield PATIENCE, train.patience is None or train.patience <= INT32_MAX, f"null or at most {INT32_MAX}"
    at_its_end = f"null with train.cooldown_epochs={train.cooldown_epochs}, whose rates depend on where the run ends"
    yield PATIENCE, train.patience is None or not train.cooldown_epochs, at_its_end
    yield "train.optimizer", train.optimizer in OPTIMIZERS, f"{', '.join(OPTIMIZERS[:-1])} or {OPTIMIZERS[-1]}"
    for key in ("beta_1", "beta_2"):
        yield f"train.{key}", 0 <= train[key] < 1, "in [0, 1)"
    yield "train.epsilon", 0 < train.epsilon < math.inf, "a number above 0"
    yield from _optimizer_limits(train)
    yield "train.augment.shift", 0 <= augment.shift <= 0.5, "in [0, 0.5]"
    yield "train.augment.rotation", 0 <= augment.rotation <= 180, "in [0, 180]"
    yield "train.augment.zoom", 0 <= augment.zoom < 1, "in [0, 1)"
    yield "train.precision", train.precision in PRECISIONS, " or ".join(PRECISIONS)
    yield "trajectories.max_gb", 0 <= cfg.trajectories.max_gb < math.inf, "a number of 0 or more"
    problem = _store_problem(cfg.trajectories.store)
    yield "trajectories.store", not problem, problem
    yield "tracking.experiment", bool(cfg.tracking.experiment.strip()), "a name"


def _optimizer_limits(train: DictConfig) -> Iterator[tuple[str, bool, str]]:
    """Refuse what would have no effect: a momentum for Adam, or weight decay for an optimizer that has none."""
    by, optimizer, decay = f"with train.optimizer={train.optimizer}", train.optimizer, train.weight_decay
    yield "train.momentum", 0 <= train.momentum < 1, "in [0, 1)"
    yield "train.momentum", optimizer == "sgd" or not train.momentum, f"0 {by}, which has none"
    yield "train.nesterov", not train.nesterov or train.momentum > 0, "false without train.momentum"
    allowed = decay is None or 0 <= decay < math.inf
    yield "train.weight_decay", allowed, NULL_OR_NUMBER["train.weight_decay"]
    yield "train.weight_decay", optimizer != "adam" or not decay, f"0 {by}; adamw is Adam with weight decay"
    yield "train.weight_decay", optimizer != "adamw" or decay != 0, f"above 0 {by}; adam is AdamW without weight decay"


def _store_problem(store: str | None) -> str:
    """What the address of a state store must be, if it is not that; else an empty text."""
    if store is None or (store.strip() and "://" not in store):
        return ""
    protocol = store.partition("://")[0]
    if not store.strip() or not protocol:
        return "null, a folder, or a URL"
    if PASSWORD.search(store):
        variable = f"FSSPEC_{protocol.rpartition('::')[2].upper()}_PASSWORD"
        return f"a URL without a password, which the config.yaml of each run would hold; fsspec reads {variable}"
    from fsspec import get_filesystem_class  # costs a tenth of a second, and most stores are folders

    try:
        get_filesystem_class(protocol)
    except ImportError as error:
        extra = "pip install 'epochwise[s3]'" if protocol in ("s3", "s3a") else f"install what it names: {error}"
        return f"a URL whose file system is installed; for {protocol}://, {extra}"
    except ValueError:
        return f"null, a folder, or a URL such as s3://bucket/states; there is no {protocol}://"
    return ""


def without_password(text: str) -> str:
    """The text without the users and passwords of URLs in it."""
    return PASSWORD.sub("//…@", text)


def _is_plain(value: object) -> bool:
    """Whether an own network can be given this value, and configuration, sweep and report can hold it."""
    if isinstance(value, (list, ListConfig)):
        return all(map(_is_plain, value))
    return isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value))
