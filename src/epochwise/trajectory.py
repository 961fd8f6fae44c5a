"""What identifies a training: all that decides it but its length, and the hashes over that."""

import hashlib
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from omegaconf import DictConfig

from epochwise.config import parameters
from epochwise.files import digest
from epochwise.schedule import shared_epochs

LIBRARIES = ("tensorflow", "keras", "numpy")
TRAINING_CODE = ("backend.py", "data.py", "history.py", "model.py", "schedule.py", "train.py")
FLAGS = ("TF_ENABLE_", "TF_XLA_", "XLA_FLAGS", "ONEDNN_", "DNNL_")  # environment that picks other kernels
INSTRUCTIONS = ("sse4", "fma", "avx", "amx")  # sets by which TensorFlow and oneDNN pick kernels


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


def fingerprint(trajectory: str, epochs: int) -> str:
    """SHA-256 that identifies a run: its trajectory, and how far along it."""
    return trajectory_key({"trajectory": trajectory, "epochs": epochs})


def cpu() -> str:
    """The processor's name."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _trunk(cfg: DictConfig, data_sha256: str) -> dict:
    decisive = {key: value for key, value in parameters(cfg).items() if key.startswith(("model.", "train.", "seed"))}
    for key in ("train.epochs", "train.cooldown_epochs", *([] if cfg.train.decay_every else ["train.decay_factor"])):
        del decisive[key]
    here = Path(__file__).parent
    instructions = sorted(flag for flag in _cpuinfo("flags").split() if flag.startswith(INSTRUCTIONS))
    return {
        "parameters": decisive,
        "data": data_sha256,
        "versions": {name: version(name) for name in LIBRARIES},
        "code": {name: digest(here / name) for name in TRAINING_CODE},
        "processor": {"cpu": cpu(), "instructions": " ".join(instructions), "gpu": _gpus()},
        "flags": {name: value for name, value in sorted(os.environ.items()) if name.startswith(FLAGS)},
    }


def _cpuinfo(field: str) -> str:
    """A field of the first processor in /proc/cpuinfo; empty where there is no such file."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), "")


def _gpus() -> list[str]:
    """The models of NVIDIA's GPUs as their driver names them, found without starting TensorFlow."""
    found = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    return [path.read_text().partition("Model:")[2].partition("\n")[0].strip() for path in found]
