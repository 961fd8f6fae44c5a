"""What can be known to be wrong before DVC removes an output: the configuration, the data, and dvc.yaml."""

from omegaconf import DictConfig, OmegaConf
from ruamel.yaml import YAML

from epochwise.common.errors import InputError
from epochwise.common.paths import find_root
from epochwise.config.compose import parameter_keys, parameters, read_params
from epochwise.pipeline.stages import PREPARED, check_data, check_source


def check_project(cfg: DictConfig) -> None:
    """Raise InputError if the data cannot serve this configuration, or if DVC would miss or misread a parameter."""
    check_data(cfg)
    check_source(find_root() / PREPARED, cfg.prepare)
    check_stages()
    check_lock()
    check_dialect()


def check_stages() -> None:
    """Raise InputError unless each parameter is watched by a stage of dvc.yaml and each watched key is a parameter."""
    try:
        stages = OmegaConf.to_container(OmegaConf.load(find_root() / "dvc.yaml"))["stages"]
        watched = {
            (name, key) for name, stage in stages.items() for key in stage.get("params", []) if isinstance(key, str)
        }
    except Exception as error:  # the YAML parser's, the file system's, and those of a file of another form
        raise InputError(f"dvc.yaml: no readable stages ({' '.join(str(error).split())})") from error
    for key in parameter_keys():
        if not any(key == prefix or key.startswith(f"{prefix}.") for _, prefix in watched):
            raise InputError(f"dvc.yaml: no stage has {key} under params; a change of it would rerun nothing")
    for name, prefix in sorted(watched):
        if not any(key == prefix or key.startswith(f"{prefix}.") for key in parameter_keys()):
            raise InputError(f"dvc.yaml: stage {name} watches {prefix}, which params.yaml does not have")


def check_lock() -> None:
    """Raise InputError if dvc.lock, which may not be there yet, is not what DVC writes."""
    path = find_root() / "dvc.lock"
    try:
        sound = not path.exists() or isinstance(YAML(typ="safe").load(path)["stages"], dict)
    except Exception as error:  # the YAML parser's, the file system's, and those of a file of another form
        raise InputError(f"dvc.lock: not readable ({' '.join(str(error).split())}); `git checkout dvc.lock`") from error
    if not sound:
        raise InputError("dvc.lock: has no stages; `git checkout dvc.lock`")


def check_dialect() -> None:
    """Raise InputError if DVC, which reads YAML 1.2, sees another value in params.yaml than Hydra: 010 is 8 or 10."""
    ours = parameters(read_params())
    theirs = parameters(OmegaConf.create(YAML(typ="safe").load(find_root() / "params.yaml")))
    for key, value in ours.items():
        if value != theirs[key]:
            raise InputError(f"params.yaml: {key} is {value!r} to Hydra and {theirs[key]!r} to DVC; write it plainly")
