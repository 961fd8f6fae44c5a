"""What MLflow shows of a run beside its results. It is kept in run.json, so that it can be logged at any time."""

import getpass
import os
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from epochwise.common.files import file_digest
from epochwise.config.schema import OWN_PARAMETERS, PATIENCE, parameters
from epochwise.data.prepared import PreparedData
from epochwise.runs.lineage import Lineage
from epochwise.tracking.server import DESCRIPTION_TAG
from epochwise.trajectory.identity import PROCESS

ALWAYS_SHOWN = (  # parameters that are logged even if a run does not vary them; config.yaml has all of them
    "seed",
    "prepare.source",
    "model.network",
    "model.conv_dropout",
    "model.dense_dropout",
    "train.epochs",
    "train.batch_size",
    "train.optimizer",
    "train.learning_rate",
    "train.precision",
)
SOURCE_TAGS = {"mlflow.source.name": "epochwise", "mlflow.source.type": "LOCAL"}


def describe_run(cfg: DictConfig, lineage: Lineage, data: PreparedData, sweep_id: str) -> dict[str, Any]:
    """Parameters, tags and data set of a run. `sweep_id` is empty for a run that no sweep has started."""
    varied = {override.lstrip("+").partition("=")[0] for override in lineage.overrides}
    return {
        "params": {
            key: value
            for key, value in parameters(cfg).items()
            if key in ALWAYS_SHOWN or key in varied or key.startswith(OWN_PARAMETERS) or _ends_early(key, value)
        },
        "tags": _origin_tags(lineage, sweep_id)
        | {"mlflow.user": _user()}
        | SOURCE_TAGS
        | {
            DESCRIPTION_TAG: _description(cfg, lineage, data),
            "data.sha256": data.sha256,
            "validation": "test set" if data.validates_on_test else "split off the training set",
        },
        "dataset": {
            "name": Path(cfg.prepare.source).stem,
            "md5": file_digest(data.archive, "md5"),
            "sha256": data.sha256,
            "meta": asdict(data.meta),
        },
    }


def _ends_early(key: str, value: object) -> bool:
    """Whether this is the parameter that may end the run before `train.epochs`, and does not leave it alone."""
    return key == PATIENCE and value is not None


def _description(cfg: DictConfig, lineage: Lineage, data: PreparedData) -> str:
    """What the run's page says first: what was trained on what, and the command that makes the run again."""
    varied = " ".join(f"`{override}`" for override in lineage.overrides) or "the parameters of params.yaml"
    images = f"{data.meta.train_images} images of {cfg.prepare.source}"
    at_most = "" if parameters(cfg)[PATIENCE] is None else "At most "
    what = f"{at_most}{cfg.train.epochs} epochs on {images}: {varied}."
    return f"{what}\n\nTo train it again:\n\n```\n{lineage.reproduce}\n```"


def _origin_tags(lineage: Lineage, sweep_id: str) -> dict[str, str]:
    """Code, command, versions and machine; DVC's environment variables name the stage and the DVC experiment."""
    tags = {
        "git.commit": lineage.git_commit,
        "git.dirty": "unknown" if lineage.git_dirty is None else str(lineage.git_dirty).lower(),
        "git.problem": lineage.git_problem,
        "mlflow.source.git.commit": lineage.git_commit,
        "dvc.stage": os.environ.get("DVC_STAGE"),
        "dvc.experiment": os.environ.get("DVC_EXP_NAME"),
        "dvc.baseline": os.environ.get("DVC_EXP_BASELINE_REV"),
        "sweep.id": sweep_id,
        "overrides": " ".join(lineage.overrides),
        "reproduce": lineage.reproduce,
        "version.python": platform.python_version(),
        **{f"version.{name}": number for name, number in PROCESS["versions"].items()},
        "cpu": PROCESS["processor"].get("model name") or PROCESS["processor"]["machine"],
    }
    return {key: value for key, value in tags.items() if value}


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a user number that has no name
        return str(os.getuid())
