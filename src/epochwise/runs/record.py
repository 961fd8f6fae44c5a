"""run.json: which run this is, what it cost, how it ended, and what it was made from."""

import time
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from types import NoneType
from typing import Any, Literal

from epochwise.common.errors import DivergedError, InputError
from epochwise.common.files import read_json, write_json

RUNNING, FINISHED, FAILED, KILLED = "RUNNING", "FINISHED", "FAILED", "KILLED"  # MLflow's words

STATUSES = (RUNNING, FINISHED, FAILED, KILLED)
NUMBER = (int, float)

REQUIRED_TYPES: dict[str, Any] = {  # of the keys that every run.json has, also those of earlier versions
    **dict.fromkeys(("run_id", "experiment", "fingerprint", "trajectory", "data_sha256", "status"), str),
    **dict.fromkeys(("epochs", "epochs_trained", "epochs_reused", "steps_trained"), int),
    **dict.fromkeys(("train_seconds", "trajectory_seconds"), NUMBER),
    **{"git_commit": (str, NoneType), "weights_sha256": (str, NoneType), "published": (str, bool), "identity": dict},
}
OPTIONAL_TYPES: dict[str, Any] = {  # of the keys that earlier versions did not write
    **dict.fromkeys(("token", "name", "failure", "git_problem"), str),
    **dict.fromkeys(("model_sha256", "git_diff"), (str, NoneType)),
    **{"started": (int, NoneType), "ended": (int, NoneType), "git_dirty": (bool, NoneType)},
    **dict.fromkeys(("end_rule", "mlflow"), dict),
}
SHOWN_TYPES: dict[str, dict[str, Any]] = {  # of what MLflow shows, by where it stands in the record
    "mlflow": {"params": dict, "tags": dict, "dataset": dict},
    "mlflow.dataset": {"name": str, "md5": str, "sha256": str, "meta": dict},
    "mlflow.dataset.meta": {"image_shape": list, "classes": int, "prepare": dict},
    "mlflow.dataset.meta.prepare": {"source": str},
}
INNER_TYPES: dict[str, dict[str, Any]] = {  # of what else stands inside other keys, in the records that have it
    "identity": dict.fromkeys(("parameters", "versions", "code", "processor", "flags"), dict),
    "mlflow.dataset.meta": {"class_names": (list, NoneType)},
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
    epochs: int  # that the run consists of; until its training has finished, the most that it may
    end_rule: dict[str, int] = field(default_factory=dict)  # see `trajectory.identity.Segment`; none before 0.1
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
    git_dirty: bool | None = None  # None: not known
    git_problem: str = ""  # why commit or git_dirty is not known
    git_diff: str | None = None  # sha256 of git.diff, if the code was not as committed
    published: str | Literal[False] = False  # the tracking server that has the whole run
    identity: dict[str, Any] = field(default_factory=dict)  # `trajectory` is the hash over it
    mlflow: dict[str, Any] = field(default_factory=dict)  # params, tags and data set that MLflow shows
    unknown: dict[str, Any] = field(default_factory=dict)  # what a later version of this program has written

    @property
    def diverged(self) -> bool:
        """Whether the training ended because its loss was no longer a finite number: the same run ends so again."""
        return self.status == FAILED and self.failure.startswith(f"{DivergedError.__name__}:")

    @property
    def reason(self) -> str:
        """Why the run failed, as a sweep says it: without the class of an error that this program raises itself."""
        return self.failure.removeprefix(f"{DivergedError.__name__}: ")

    @property
    def validation_images(self) -> int | None:
        """How many images it was validated on; None if this record of an earlier version does not say it."""
        meta = self.mlflow.get("dataset", {}).get("meta", {})
        count = meta.get("validation_images")
        count = meta.get("test_images") if count == 0 else count  # without any, the test set is validation
        return count if isinstance(count, int) else None

    @staticmethod
    def read(path: Path) -> "RunRecord":
        """Raises InputError if the file does not exist or is no run's record."""
        values = read_json(path)
        present = {key: OPTIONAL_TYPES[key] for key in OPTIONAL_TYPES if key in values}
        for key, types in (REQUIRED_TYPES | present).items():
            if not _is(values.get(key), types):
                raise InputError(f"{path}: not a run's record: {key} is {values.get(key)!r}")
        if values["status"] not in STATUSES or values["published"] is True:
            wrong = "published" if values["published"] is True else "status"
            raise InputError(f"{path}: not a run's record: {wrong} is {values[wrong]!r}")
        for inside in (SHOWN_TYPES, INNER_TYPES):
            _check_inside(values, inside, path)
        known = {item.name for item in fields(RunRecord)} - {"unknown"}
        unknown = {key: value for key, value in values.items() if key not in known}
        return RunRecord(**{key: value for key, value in values.items() if key in known}, unknown=unknown)

    def write(self, path: Path) -> None:
        values = asdict(self)
        write_json(path, values.pop("unknown") | values)

    def check_publishable(self, path: Path) -> None:
        """Raise InputError if this record, read from `path`, does not hold all that MLflow shows of a run."""
        lacking = [key for key in ("token", "name", "started", "mlflow") if not getattr(self, key)]
        if lacking:
            raise InputError(f"{path}: lacks {', '.join(lacking)}, which MLflow shows")
        _check_inside(asdict(self), SHOWN_TYPES, path, required=True)

    def with_mlflow_id(self, run_id: str | None) -> "RunRecord":
        """The record with MLflow's id in place of the token. An id of MLflow's, of whatever server, stays."""
        return replace(self, run_id=run_id) if run_id and self.run_id == self.token else self


def _is(value: object, types: type | tuple[type, ...]) -> bool:
    """Whether a value of JSON has one of these types; true and false are no numbers."""
    allowed = types if isinstance(types, tuple) else (types,)
    return isinstance(value, allowed) and (not isinstance(value, bool) or bool in allowed)


def _check_inside(
    values: dict[str, Any], inside: dict[str, dict[str, Any]], path: Path, required: bool = False
) -> None:
    """Raise InputError if something inside of a record has a wrong type or, if all is `required`, is not there."""
    for where, types in inside.items():
        found: Any = values
        for key in where.split("."):
            found = found.get(key, {}) if isinstance(found, dict) else {}
        for key, expected in types.items():
            if (required or key in found) and not _is(found.get(key), expected):
                raise InputError(f"{path}: not a run's record: {where}.{key} is {found.get(key)!r}")
