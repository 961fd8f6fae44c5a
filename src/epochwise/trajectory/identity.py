"""What identifies a training: all that decides it but its length, and the hashes over that."""

import functools
import hashlib
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from omegaconf import DictConfig

from epochwise.common.errors import RunError
from epochwise.common.files import digest
from epochwise.config.compose import parameters
from epochwise.training.learning_rate import shared_epochs

LIBRARIES = ("tensorflow", "keras", "numpy")
TRAINING_CODE = (
    "training/backend.py",
    "data/prepared.py",
    "training/history.py",
    "training/network.py",
    "training/learning_rate.py",
    "training/loop.py",
)
CPU = ("model name", "cpu family", "model", "stepping", "cache size", "CPU implementer", "CPU part")  # of /proc/cpuinfo
INSTRUCTIONS = ("sse4", "fma", "avx", "amx", "asimd", "sve", "bf16", "i8mm")  # by which kernels are picked
FLAGS = (  # environment that picks other kernels or devices; no wider, for Terraform's variables begin with TF_ too
    *("TF_AUTO_MIXED_", "TF_CONV", "TF_CUDNN_", "TF_DETERMINISTIC_", "TF_DISABLE_", "TF_ENABLE_", "TF_FP16_"),
    *("TF_MATMUL_", "TF_MKL_", "TF_NUM_", "TF_ONEDNN_", "TF_SET_ONEDNN_", "TF_USE_", "TF_XLA_", "XLA_FLAGS"),
    *("ONEDNN_", "DNNL_", "CUDA_VISIBLE_DEVICES", "NVIDIA_TF32_OVERRIDE"),
)


class Leg(NamedTuple):
    """A stretch of a training that has one identity, which is all that decides it: up to and with epoch `last`."""

    identity: dict
    last: int


def legs(cfg: DictConfig, data_sha256: str) -> list[Leg]:
    """The stretches of a run, in order: the trunk, which runs of any length share, then what is of its own length."""
    trunk, train = _trunk(cfg, data_sha256), cfg.train
    if not train.cooldown_epochs:
        return [Leg(trunk, train.epochs)]
    length = {"train.epochs": train.epochs, "train.cooldown_epochs": train.cooldown_epochs}
    own = Leg(trunk | {"parameters": trunk["parameters"] | length}, train.epochs)
    return [Leg(trunk, shared_epochs(train)), own] if shared_epochs(train) else [own]


def trajectory_key(identity: dict) -> str:
    """SHA-256 over an identity, as JSON with sorted keys: the trajectory's name."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def fingerprint(cfg: DictConfig, data_sha256: str) -> str:
    """SHA-256 that identifies a run: its trajectory, and how far along it."""
    trajectory = trajectory_key(legs(cfg, data_sha256)[-1].identity)
    return trajectory_key({"trajectory": trajectory, "epochs": cfg.train.epochs})


@functools.cache
def check_code() -> None:
    """Raise RunError if code that trains was edited before this process had loaded it, but after it was hashed.

    Called once all of it is loaded; what is edited later does not matter to this process.
    """
    if _code() != PROCESS["code"]:
        raise RunError("the code that trains was edited while this process started; start it again")


def _trunk(cfg: DictConfig, data_sha256: str) -> dict:
    decisive = {key: value for key, value in parameters(cfg).items() if key.startswith(("model.", "train.", "seed"))}
    for key in ("train.epochs", "train.cooldown_epochs", *([] if cfg.train.decay_every else ["train.decay_factor"])):
        del decisive[key]
    return {"parameters": decisive, "data": data_sha256, **PROCESS}


def _code() -> dict[str, str]:
    here = Path(__file__).parent.parent
    return {name: digest(here / name) for name in TRAINING_CODE}


def _processor() -> dict[str, str]:
    """What picks kernels and the sizes of their blocks, and so the order in which numbers are summed."""
    about = _cpuinfo()
    instructions = (about.get("flags") or about.get("Features") or "").split()
    sizes = sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"))
    return {
        "machine": platform.machine(),
        **{key: about[key] for key in CPU if key in about},
        "instructions": " ".join(sorted(flag for flag in instructions if flag.startswith(INSTRUCTIONS))),
        "caches": " ".join(path.read_text().strip() for path in sizes),
        "gpus": " ".join(_gpus()),
    }


def _cpuinfo() -> dict[str, str]:
    """The fields of the first processor in /proc/cpuinfo; empty where there is no such file."""
    try:
        lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _gpus() -> list[str]:
    """The models of NVIDIA's GPUs as their driver names them, found without starting TensorFlow."""
    found = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    return [path.read_text().partition("Model:")[2].partition("\n")[0].strip() for path in found]


# Taken once, for a process loads its code, its libraries and its environment once.
PROCESS = {
    "versions": {name: version(name) for name in LIBRARIES},
    "code": _code(),
    "processor": _processor(),
    "flags": {name: value for name, value in sorted(os.environ.items()) if name.startswith(FLAGS)},
}
