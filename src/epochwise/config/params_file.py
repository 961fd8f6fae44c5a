"""params.yaml as it is, without the rest of the configuration."""

from omegaconf import DictConfig, OmegaConf

from epochwise.common.errors import InputError, one_line
from epochwise.common.paths import find_root


def read_params() -> DictConfig:
    """params.yaml as it is. Raises InputError if it is not a readable mapping."""
    try:
        params = OmegaConf.load(find_root() / "params.yaml")
    except Exception as error:  # OmegaConf passes on whatever the YAML parser, the file system or a decoder raises
        raise InputError(f"params.yaml: not readable: {one_line(error)}") from error
    if not isinstance(params, DictConfig):
        raise InputError("params.yaml: must be a mapping of keys to values")
    return params
