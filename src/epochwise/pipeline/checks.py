"""What `epochwise check` refuses before DVC removes an output: wrong configuration, data, dvc.yaml or dvc.lock."""

import configparser
from contextlib import suppress
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from ruamel.yaml import YAML

from epochwise.common.errors import InputError, one_line
from epochwise.common.paths import find_root
from epochwise.config.params_file import read_params
from epochwise.config.schema import parameter_keys, parameters
from epochwise.pipeline.datasets import check_data, check_source_unchanged
from epochwise.pipeline.directories import MODELS, PREPARED, REPORTS, check_links
from epochwise.pipeline.own_networks import check_builds, check_watched
from epochwise.tracking.address import check_address


def check_project(cfg: DictConfig) -> None:
    """Raise InputError if the data cannot serve this configuration, or if DVC would miss or misread a parameter.

    Prints what prepare will change in the data.
    """
    check_links()
    if cfg.tracking.enabled:
        check_address()
    for line in check_data(cfg):
        print(line)
    check_source_unchanged(find_root() / PREPARED, cfg.prepare)
    check_stages()
    check_network_watched(cfg)
    check_lock()
    check_yaml_versions()
    (problem,) = check_builds([cfg])
    if problem:
        raise InputError(problem)
    check_repository()


def check_repository() -> None:
    """Raise InputError if DVC needs a git repository and the project is in none, or has outputs outside of it."""
    root = find_root()
    if _dvc_does_without_git(root):
        return
    if not any((folder / ".git").exists() for folder in (root, *root.parents)):
        raise InputError(
            f"{root}: is in no git repository, which DVC needs; `git init && git add --all && git commit -m start` "
            "makes one, and `dvc config core.no_scm true` lets DVC do without; `epochwise run` works as it is"
        )
    for folder in (PREPARED.parent, PREPARED, MODELS, REPORTS):
        if (root / folder).is_symlink():
            raise InputError(
                f"{folder}: is a link, and DVC stores no outputs outside of the repository; make {folder} a folder, "
                "and link data/cache or set `dvc cache dir`, where most bytes are; `epochwise run` works as it is"
            )


def _dvc_does_without_git(root: Path) -> bool:
    settings = configparser.ConfigParser(strict=False, interpolation=None)
    for name in ("config", "config.local"):
        with suppress(configparser.Error, UnicodeDecodeError):  # DVC says what is wrong with it
            settings.read(root / ".dvc" / name, encoding="utf-8")
    return settings.get("core", "no_scm", fallback="").lower() == "true"


def check_stages() -> None:
    """Raise InputError unless a stage of dvc.yaml watches each parameter and each watched key is a parameter."""
    watched = {(name, key) for name, keys in _entries("params").items() for key in keys}
    for key in parameter_keys():
        if not any(key == prefix or key.startswith(f"{prefix}.") for _, prefix in watched):
            raise InputError(f"dvc.yaml: no stage has {key} under params; a change of it would rerun nothing")
    for name, prefix in sorted(watched):
        if not any(key == prefix or key.startswith(f"{prefix}.") for key in parameter_keys()):
            raise InputError(f"dvc.yaml: stage {name} watches {prefix}, which params.yaml does not have")


def check_network_watched(cfg: DictConfig) -> None:
    """Raise InputError if DVC would not notice that the files of an own network were edited."""
    check_watched(cfg.model.network, _entries("deps").get("train", []))


def _entries(section: str) -> dict[str, list[str]]:
    """The plain entries of a section of each stage of dvc.yaml. Raises InputError if the file has another form."""
    try:
        content: Any = OmegaConf.to_container(OmegaConf.load(find_root() / "dvc.yaml"))
        return {
            name: [entry for entry in stage.get(section, []) if isinstance(entry, str)]
            for name, stage in content["stages"].items()
        }
    except Exception as error:  # the YAML parser's and the file system's errors, and those of a file of another form
        raise InputError(f"dvc.yaml: no readable stages ({one_line(error)})") from error


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
