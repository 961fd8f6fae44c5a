"""What can be known to be wrong before DVC removes an output: the configuration, the data, and dvc.yaml."""

from omegaconf import DictConfig, OmegaConf

from epochwise import InputError, sources
from epochwise.config import check_against_data, find_root, parameter_keys
from epochwise.pipeline import cache


def check_project(cfg: DictConfig) -> None:
    """Raise InputError if the data cannot serve this configuration, or if dvc.yaml would miss a parameter's change."""
    check_data(cfg)
    check_stages()


def check_data(cfg: DictConfig) -> None:
    """Raise InputError if the source is missing, broken or too small. Downloads nothing."""
    shape = sources.shape_of(cfg.prepare.source, cache())
    check_against_data(cfg, shape.train, shape.image, shape.classes)


def check_stages() -> None:
    """Raise InputError unless each parameter is watched by a stage of dvc.yaml and each watched key is a parameter."""
    stages = OmegaConf.to_container(OmegaConf.load(find_root() / "dvc.yaml"))["stages"]
    watched = {(name, key) for name, stage in stages.items() for key in stage.get("params", [])}
    for key in parameter_keys():
        if not any(key == prefix or key.startswith(f"{prefix}.") for _, prefix in watched):
            raise InputError(f"dvc.yaml: no stage has {key} under params; a change of it would rerun nothing")
    for name, prefix in sorted(watched):
        if not any(key == prefix or key.startswith(f"{prefix}.") for key in parameter_keys()):
            raise InputError(f"dvc.yaml: stage {name} watches {prefix}, which params.yaml does not have")
