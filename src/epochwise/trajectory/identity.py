"""What identifies a training: everything that decides it but where it ends, and the hashes over that."""

import functools
import hashlib
import json
import os
import platform
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from epochwise.common.errors import RunError
from epochwise.common.files import file_digest
from epochwise.common.paths import find_root
from epochwise.config.schema import NETWORK, OWN_PARAMETERS, PATIENCE
from epochwise.training.network_source import NetworkSource, is_own, read_source

Identity = dict[str, Any]

LIBRARIES = ("tensorflow", "keras", "numpy")
CPU_FIELDS = ("model name", "cpu family", "model", "stepping", "cache size", "CPU implementer", "CPU part")
INSTRUCTION_SETS = ("sse4", "fma", "avx", "amx", "asimd", "sve", "bf16", "i8mm")  # kernels are chosen by these
OF_A_HOST = ("processor", "flags")  # the parts of an identity that another host may have otherwise
KERNEL_VARIABLES = (  # environment variables by which TensorFlow chooses kernels; not all of TF_, which Terraform uses
    *("TF_AUTO_MIXED_", "TF_CONV", "TF_CUDNN_", "TF_DETERMINISTIC_", "TF_DISABLE_", "TF_ENABLE_", "TF_FP16_"),
    *("TF_MATMUL_", "TF_MKL_", "TF_NUM_", "TF_ONEDNN_", "TF_SET_ONEDNN_", "TF_USE_", "TF_XLA_", "XLA_FLAGS"),
    *("ONEDNN_", "DNNL_", "CUDA_VISIBLE_DEVICES", "NVIDIA_TF32_OVERRIDE"),
)


class Segment(NamedTuple):
    """A part of a training with one identity: all epochs up to and including `last` that no earlier segment has.

    A run with `patience` may end before `last`, see `ending.last_epoch`. Then it has no other segment.
    """

    identity: Identity
    last: int
    patience: int | None = None


def segments(parameters: Mapping[str, Any], data_sha256: str) -> list[Segment]:
    """The segments of a run, in order: the epochs that runs of any length share, then those of its own cooldown.

    `parameters` are the values of all parameters by dotted key.
    """
    shared, epochs = _shared_identity(parameters, data_sha256), parameters["train.epochs"]
    cooldown = parameters["train.cooldown_epochs"]
    if not cooldown:
        return [Segment(shared, epochs, parameters[PATIENCE])]
    length = {"train.epochs": epochs, "train.cooldown_epochs": cooldown}
    own = Segment(shared | {"parameters": shared["parameters"] | length}, epochs)
    return [Segment(shared, epochs - cooldown), own] if epochs > cooldown else [own]


def trajectory_key(identity: Identity) -> str:
    """The trajectory's name: SHA-256 over its identity, as JSON with sorted keys."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def fingerprint(parameters: Mapping[str, Any], data_sha256: str) -> str:
    """SHA-256 that identifies a run: its trajectory, its number of epochs and its patience.

    No patience is left out, so that runs which are older than this parameter keep their fingerprints.
    """
    segment = segments(parameters, data_sha256)[-1]
    return _with_end(segment.identity, segment.last, segment.patience)


def mixed_fingerprint(parameters: Mapping[str, Any], data_sha256: str) -> str:
    """SHA-256 that identifies a run on whatever processor: the last bits of its result depend on that."""
    segment = segments(parameters, data_sha256)[-1]
    return mixed_fingerprint_of(segment.identity, segment.last, segment.patience)


def mixed_fingerprint_of(identity: Identity, epochs: int, patience: int | None) -> str:
    """What `mixed_fingerprint` is of a run with this identity, at most so many epochs and this patience."""
    return _with_end({key: identity[key] for key in identity if key not in OF_A_HOST}, epochs, patience)


def _with_end(identity: Identity, epochs: int, patience: int | None) -> str:
    end = {"epochs": epochs} | ({} if patience is None else {"patience": patience})
    return trajectory_key({"trajectory": trajectory_key(identity)} | end)


def identify_by(ask: Callable[[], Mapping[str, dict[str, str]]]) -> None:
    """Let trainings be identified by the processor and the flags of the host that they are to run on.

    `ask` returns these parts of PROCESS. It is called once, when the first identity is needed, since it may wait for a
    host to be free.
    """
    global _ask
    _ask = ask


def _process() -> dict[str, dict[str, str]]:
    """PROCESS, after the host of the trainings was asked if there is one to ask."""
    global _ask
    if _ask:
        ask, _ask = _ask, None
        PROCESS.update(ask())
    return PROCESS


@functools.cache
def check_code() -> None:
    """Raise RunError if code that trains was edited after it was hashed, but before this process had imported it.

    Called once all of it is imported; edits after that do not reach this process.
    """
    if training_code() != PROCESS["code"]:
        raise RunError("the code that trains was edited while this process started; start it again")


def training_code() -> dict[str, str]:
    """SHA-256 of each file that decides a result: all of training/, and data/prepared.py."""
    package = Path(__file__).parent.parent
    files = [*sorted((package / "training").glob("*.py")), package / "data" / "prepared.py"]
    return {path.relative_to(package).as_posix(): file_digest(path) for path in files}


def check_network_code(network: str) -> None:
    """Raise RunError if an own network's files were edited after their hashes were taken: it may be built of either."""
    if is_own(network) and _hashed(read_source(network, find_root())) != network_code(network):
        raise RunError(f"{network} was edited while this process ran; start it again")


def network_code(network: str) -> dict[str, str]:
    """SHA-256 of each file of an own network; of the write-up's, which is in training/, there is none."""
    return _network(network, find_root())[1] if is_own(network) else {}


def _shared_identity(parameters: Mapping[str, Any], data_sha256: str) -> Identity:
    deciding = {key: value for key, value in parameters.items() if key.startswith(("train.", "seed"))}
    for key in ("train.epochs", PATIENCE, "train.cooldown_epochs", *_without_effect(parameters)):
        del deciding[key]
    code = network_code(parameters[NETWORK])
    own = {"network": code} if code else {}
    return {"parameters": _network_parameters(parameters) | deciding, "data": data_sha256, **own, **_process()}


def _without_effect(parameters: Mapping[str, Any]) -> list[str]:
    """Keys of parameters that no step of the training reads, whatever their values are."""
    keys = [] if parameters["train.decay_every"] else ["train.decay_factor"]
    if parameters["train.optimizer"] == "sgd":
        keys += ["train.beta_1", "train.beta_2", "train.epsilon"]
    return keys


def _network_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The network and what it is built with: those parameters that its function takes."""
    of_model = {key: value for key, value in parameters.items() if key.startswith("model.")}
    own = {key.removeprefix(f"{OWN_PARAMETERS}."): key for key in of_model if key.startswith(OWN_PARAMETERS)}
    shared = {key.removeprefix("model."): key for key in of_model if key not in (NETWORK, *own.values())}
    network = parameters[NETWORK]
    if not is_own(network):
        return {NETWORK: network} | {key: of_model[key] for key in shared.values()}
    source, _ = _network(network, find_root())
    taken = source.given(
        {name: of_model[key] for name, key in shared.items()}, {name: of_model[key] for name, key in own.items()}
    )
    return {NETWORK: source.name} | {(shared | own)[name]: value for name, value in taken.items()}


@functools.cache
def _network(network: str, root: Path) -> tuple[NetworkSource, dict[str, str]]:
    """An own network's source and the hashes of its files, read once, so that a process knows one identity of it."""
    source = read_source(network, root)
    return source, _hashed(source)


def _hashed(source: NetworkSource) -> dict[str, str]:
    return {name: file_digest(source.root / name) for name in source.files}


def _processor() -> dict[str, str]:
    """What decides the kernels and their block sizes, and with them the order in which numbers are summed."""
    cpu = _cpu_info()
    instructions = (cpu.get("flags") or cpu.get("Features") or "").split()
    caches = sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"))
    return {
        "machine": platform.machine(),
        **{key: cpu[key] for key in CPU_FIELDS if key in cpu},
        "instructions": " ".join(sorted(flag for flag in instructions if flag.startswith(INSTRUCTION_SETS))),
        "caches": " ".join(path.read_text().strip() for path in caches),
        "gpus": " ".join(_gpu_models()),
    }


def _cpu_info() -> dict[str, str]:
    """The fields of the first processor in /proc/cpuinfo; empty where there is no such file."""
    try:
        lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _gpu_models() -> list[str]:
    """NVIDIA GPUs as their driver names them, found without starting TensorFlow."""
    found = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    return [path.read_text().partition("Model:")[2].partition("\n")[0].strip() for path in found]


_ask: Callable[[], Mapping[str, dict[str, str]]] | None = None  # see `identify_by`

# Read once: a process loads its code, its libraries and its environment once.
PROCESS: dict[str, dict[str, str]] = {
    "versions": {name: version(name) for name in LIBRARIES},
    "code": training_code(),
    "processor": _processor(),
    "flags": {name: value for name, value in sorted(os.environ.items()) if name.startswith(KERNEL_VARIABLES)},
}
