"""What `epochwise check` refuses before DVC removes an output: wrong configuration, data, dvc.yaml or dvc.lock."""

from typing import Any

from omegaconf import DictConfig, OmegaConf
from ruamel.yaml import YAML

from epochwise.common.errors import InputError, one_line
from epochwise.common.paths import find_root
from epochwise.config.params_file import read_params
from epochwise.config.schema import parameter_keys, parameters
from epochwise.pipeline.datasets import check_data, check_source_unchanged
from epochwise.pipeline.directories import PREPARED


def check_project(cfg: DictConfig) -> None:
    """Raise InputError if the data cannot serve this configuration, or if DVC would miss or misread a parameter."""
    check_data(cfg)
    check_source_unchanged(find_root() / PREPARED, cfg.prepare)
    check_stages()
    check_lock()
    check_yaml_versions()


def check_stages() -> None:
    """Raise InputError unless a stage of dvc.yaml watches each parameter and each watched key is a parameter."""
    try:
        content: Any = OmegaConf.to_container(OmegaConf.load(find_root() / "dvc.yaml"))
        stages = content["stages"]
        watched = {
            (name, key) for name, stage in stages.items() for key in stage.get("params", []) if isinstance(key, str)
        }
    except Exception as error:  # the YAML parser's and the file system's errors, and those of a file of another form
        raise InputError(f"dvc.yaml: no readable stages ({one_line(error)})") from error
    for key in parameter_keys():
        if not any(key == prefix or key.startswith(f"{prefix}.") for _, prefix in watched):
            raise InputError(f"dvc.yaml: no stage has {key} under params; a change of it would rerun nothing")
    for name, prefix in sorted(watched):
        if not any(key == prefix or key.startswith(f"{prefix}.") for key in parameter_keys()):
            raise InputError(f"dvc.yaml: stage {name} watches {prefix}, which params.yaml does not have")


def check_lock() -> None:
    """Raise InputError if dvc.lock exists and is not what DVC writes."""
    path = find_root() / "dvc.lock"
    try:
        sound = not path.exists() or isinstance(YAML(typ="safe").load(path)["stages"], dict)
    except Exception as error:  # the YAML parser's and the file system's errors, and those of a file of another form
        raise InputError(f"dvc.lock: not readable ({one_line(error)}); `git checkout dvc.lock`") from error
    if not sound:
        raise InputError("dvc.lock: has no stages; `git checkout dvc.lock`")


def check_yaml_versions() -> None:
    """Raise InputError if DVC reads another value in params.yaml than Hydra does.

    DVC reads YAML 1.2 and Hydra YAML 1.1, in which 010 is the octal number 8.
    """
    hydra_values = parameters(read_params())
    dvc_values = parameters(OmegaConf.create(YAML(typ="safe").load(find_root() / "params.yaml")))
    for key, value in hydra_values.items():
        if value != dvc_values[key]:
            raise InputError(
                f"params.yaml: {key} is {value!r} to Hydra and {dvc_values[key]!r} to DVC; write it plainly"
            )
