"""run.json: which run this is, what it cost, how it ended, and what it was made from."""

import time
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from types import NoneType
from typing import Any, Literal

from epochwise.common.errors import DivergedError, InputError
from epochwise.common.files import read_json, write_json

RUNNING, FINISHED, FAILED, KILLED = "RUNNING", "FINISHED", "FAILED", "KILLED"  # MLflow's words

REQUIRED_TYPES: dict[str, Any] = {  # of the keys that every run.json has, also those of earlier versions
    **dict.fromkeys(("run_id", "experiment", "fingerprint", "trajectory", "data_sha256", "status"), str),
    **dict.fromkeys(("epochs", "epochs_trained", "epochs_reused", "steps_trained"), int),
    **dict.fromkeys(("train_seconds", "trajectory_seconds"), (int, float)),
    **{"git_commit": (str, NoneType), "weights_sha256": (str, NoneType), "published": (str, bool), "identity": dict},
}


def now() -> int:
    """Milliseconds since 1970, as MLflow counts."""
    return int(time.time() * 1000)


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What run.json holds. A changed record is a new one: `replace(record, status=FINISHED)`.

    Fields of which records of earlier versions have nothing have a default.
    """

    run_id: str  # MLflow's id, once MLflow has the run; before that, and without MLflow, the token
    token: str = ""  # the id that the run was given here; MLflow's run has it as a tag
    name: str = ""
    experiment: str
    fingerprint: str
    trajectory: str
    weights_sha256: str | None = None  # None until the training has finished
    model_sha256: str | None = None  # of model.keras
    data_sha256: str
    epochs: int
    epochs_trained: int = 0
    epochs_reused: int = 0
    steps_trained: int = 0
    train_seconds: float = 0.0  # of the epochs that this run trained
    trajectory_seconds: float = 0.0  # of all its epochs, whichever run trained them
    status: str
    failure: str = ""  # why the status is FAILED or KILLED
    started: int | None = None  # milliseconds since 1970, as MLflow counts
    ended: int | None = None
    git_commit: str | None = None
    git_dirty: bool = False
    git_diff: str | None = None  # sha256 of git.diff, if the code was not as committed
    published: str | Literal[False] = False  # the tracking server that has the whole run
    identity: dict[str, Any] = field(default_factory=dict)  # `trajectory` is the hash over it
    mlflow: dict[str, Any] = field(default_factory=dict)  # params, tags and data set that MLflow shows
    unknown: dict[str, Any] = field(default_factory=dict)  # what a later version of this program has written

    @property
    def diverged(self) -> bool:
        """Whether the training ended because its loss was no longer a finite number: the same run ends so again."""
        return self.status == FAILED and self.failure.startswith(f"{DivergedError.__name__}:")

    @staticmethod
    def read(path: Path) -> "RunRecord":
        """Raises InputError if the file does not exist or is no run's record."""
        values = read_json(path)
        for key, types in REQUIRED_TYPES.items():
            if not isinstance(values.get(key), types):
                raise InputError(f"{path}: not a run's record: {key} is {values.get(key)!r}")
        known = {item.name for item in fields(RunRecord)} - {"unknown"}
        unknown = {key: value for key, value in values.items() if key not in known}
        return RunRecord(**{key: value for key, value in values.items() if key in known}, unknown=unknown)

    def write(self, path: Path) -> None:
        values = asdict(self)
        write_json(path, values.pop("unknown") | values)

    def check_publishable(self, path: Path) -> None:
        """Raise InputError if this record, read from `path`, does not hold all that MLflow shows of a run."""
        lacking = [key for key in ("token", "name", "started") if not getattr(self, key)]
        if not isinstance(self.mlflow, dict) or not {"params", "tags", "dataset"} <= self.mlflow.keys():
            lacking.append("mlflow")
        if lacking:
            raise InputError(f"{path}: lacks {', '.join(lacking)}, which MLflow shows")

    def with_mlflow_id(self, run_id: str | None) -> "RunRecord":
        """The record with MLflow's id in place of the token. An id of MLflow's, of whatever server, stays."""
        return replace(self, run_id=run_id) if run_id and self.run_id == self.token else self
