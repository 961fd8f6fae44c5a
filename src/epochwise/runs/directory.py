"""A run directory: the files that hold a run's results, and run.json, the record of how they came about."""

import contextlib
import getpass
import hashlib
import os
import time
import uuid
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import NoneType

from omegaconf import DictConfig, OmegaConf

from epochwise.common.errors import InputError
from epochwise.common.files import digest, read_json, write_json
from epochwise.config.compose import parameters
from epochwise.data.prepared import Prepared
from epochwise.runs.lineage import Lineage
from epochwise.training import history
from epochwise.trajectory.identity import fingerprint, legs, trajectory_key

CONFIG, HISTORY, MODEL, METRICS, RECORD = "config.yaml", "history.csv", "model.keras", "metrics.json", "run.json"
DIFF = "git.diff"  # there only if the code was not as committed
KILLED = "its process was killed"  # what is said of a run that could say nothing itself
EVALUATED = (  # evaluate's files
    METRICS,
    "confusion_matrix.csv",
    "confusion_matrix.png",
    "learning_curves.png",
    "mistakes.png",
    "random_digit.png",
)
COMPARED = (  # the few parameters that MLflow always shows, beside those that a run varies; all are in config.yaml
    "seed",
    "prepare.source",
    "model.conv_dropout",
    "model.dense_dropout",
    "train.epochs",
    "train.batch_size",
    "train.learning_rate",
    "train.precision",
)
KINDS = {  # of what is read in run.json
    **dict.fromkeys(("run_id", "experiment", "fingerprint", "trajectory", "data_sha256", "status"), str),
    **dict.fromkeys(("epochs", "epochs_trained", "epochs_reused", "steps_trained"), int),
    **dict.fromkeys(("train_seconds", "trajectory_seconds"), (int, float)),
    **{"git_commit": (str, NoneType), "weights_sha256": (str, NoneType), "published": (str, bool), "identity": dict},
}
MODEL_MEMBERS = {"config.json", "metadata.json", "model.weights.h5"}  # of Keras 3's format
MOST_MODEL_BYTES = 2**30  # unpacked; the write-up's network takes 4.8 MB
SETTINGS = tuple(f"prepare.{key}" for key in ("source", "validation_size", "train_size", "split_seed"))
SETTINGS += ("model", "train", "train.epochs")  # of config.yaml
MEASURED = ("val_accuracy", "val_loss", "best_epoch", "best_val_accuracy", "test_accuracy", "test_loss")
TOLD = ("token", "name", "experiment", "status", "started", "ended", "failure", "mlflow")  # of run.json, to MLflow
COSTS = ("epochs_trained", "epochs_reused", "steps_trained", "train_seconds", "trajectory_seconds")


def new_record(cfg: DictConfig, name: str, lineage: Lineage, prepared: Prepared) -> dict:
    """What run.json says when a run starts. Its id is MLflow's, once it has one; by `token` MLflow's run is found."""
    data_sha256, token = prepared.sha256, uuid.uuid4().hex
    identity = legs(cfg, data_sha256)[-1].identity
    return {
        "run_id": token,
        "token": token,
        "name": name,
        "experiment": cfg.tracking.experiment,
        "fingerprint": fingerprint(cfg, data_sha256),
        "trajectory": trajectory_key(identity),
        "weights_sha256": None,
        "data_sha256": data_sha256,
        "epochs": cfg.train.epochs,
        "epochs_trained": 0,
        "epochs_reused": 0,
        "steps_trained": 0,
        "train_seconds": 0.0,  # of the epochs that this run trained
        "trajectory_seconds": 0.0,  # of all its epochs, whichever run trained them
        "status": "RUNNING",
        "failure": "",
        "started": now(),
        "ended": None,
        "git_commit": lineage.git_commit,
        "git_dirty": lineage.git_dirty,
        "git_diff": hashlib.sha256(lineage.git_diff.encode()).hexdigest() if lineage.git_diff else None,
        "published": False,
        "identity": identity,  # what `trajectory` is the hash of
        "mlflow": _told(cfg, lineage, prepared),
    }


def now() -> int:
    """Milliseconds since 1970, as MLflow counts."""
    return int(time.time() * 1000)


def _told(cfg: DictConfig, lineage: Lineage, prepared: Prepared) -> dict:
    """What MLflow is told beside the results, so that it can be told at any time."""
    varied = {override.lstrip("+").partition("=")[0] for override in lineage.overrides}
    return {
        "params": {key: value for key, value in parameters(cfg).items() if key in COMPARED or key in varied},
        "tags": lineage.tags()
        | {
            "mlflow.user": _user(),
            "mlflow.source.name": "epochwise",
            "mlflow.source.type": "LOCAL",
            "data.sha256": prepared.sha256,
            "validation": "test set" if prepared.validates_on_test else "split off the training set",
        },
        "dataset": {
            "name": Path(cfg.prepare.source).stem,
            "md5": digest(prepared.archive, "md5"),
            "sha256": prepared.sha256,
            "meta": prepared.meta,
        },
    }


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number that has no name
        return str(os.getuid())


def clear(folder: Path) -> None:
    """Remove an earlier run's results, so that no score of theirs is ever taken for the run that starts."""
    for name in (HISTORY, MODEL, METRICS, DIFF):
        (folder / name).unlink(missing_ok=True)


def settle(folder: Path, token: str) -> tuple[str, int | None]:
    """How and when the run of that token in `folder` ended, its process being gone: as run.json says, or else KILLED.

    If run.json still says RUNNING, it now says KILLED, at the run's last sign of life. The folder may be gone, not
    writable, or another run's by now.
    """
    with contextlib.suppress(InputError, OSError):
        record = read_json(folder / RECORD)
        if record.get("token") == token and "status" in record:
            if record["status"] == "RUNNING":
                last = int((folder / RECORD).stat().st_mtime * 1000)
                record |= {"status": "KILLED", "failure": KILLED, "ended": last}
                write_json(folder / RECORD, record)
            return record["status"], record.get("ended")
    return "KILLED", None


def read_finished(folder: Path) -> dict:
    """run.json of a run whose training is complete. Raises InputError if it is not there or did not finish."""
    for name in (RECORD, CONFIG, HISTORY, MODEL):
        if not (folder / name).is_file():
            raise InputError(f"{folder}: has no {name}; train first, with `dvc repro` or `epochwise run`")
    record = read_record(folder)
    if record["status"] != "FINISHED":
        raise InputError(f"{folder}: its training is {record['status']}, not FINISHED; train again")
    check_model(folder / MODEL)
    return record


def read_record(folder: Path) -> dict:
    """run.json. Raises InputError if it is not there, or is none."""
    record = read_json(folder / RECORD)
    for key, kind in KINDS.items():
        if not isinstance(record.get(key), kind):
            raise InputError(f"{folder / RECORD}: not a run's record: {key} is {record.get(key)!r}")
    return record


def read_config(folder: Path) -> DictConfig:
    """config.yaml, as it was when the run was made. Raises InputError if it is not there, or is none."""
    path = folder / CONFIG
    try:
        cfg = OmegaConf.load(path)
        lacking = [key for key in SETTINGS if OmegaConf.select(cfg, key) is None]
    except Exception as error:  # OmegaConf passes on whatever the YAML parser, the file system or a decoder raises
        raise InputError(f"{path}: not readable ({' '.join(str(error).split())})") from error
    if lacking:
        raise InputError(f"{path}: not a run's configuration: it has no {', '.join(lacking)}")
    return cfg


def read_metrics(folder: Path) -> dict[str, float]:
    """metrics.json. Raises InputError if it is not there, or is none."""
    metrics = read_json(folder / METRICS)
    wrong = [key for key in MEASURED if not isinstance(metrics.get(key), (int, float))]
    if wrong:
        raise InputError(f"{folder / METRICS}: not a run's metrics: {wrong[0]} is {metrics.get(wrong[0])!r}")
    return metrics


def check_model(path: Path) -> None:
    """Raise InputError unless `path` is a whole `.keras` archive of a bearable size. Needs no TensorFlow."""
    try:
        with zipfile.ZipFile(path) as archive:
            size, names = sum(member.file_size for member in archive.infolist()), set(archive.namelist())
            lacking = MODEL_MEMBERS - names
            if lacking:
                raise ValueError(f"it has no {', '.join(sorted(lacking))}")
            if size > MOST_MODEL_BYTES:
                raise ValueError(f"it unpacks to {size / 2**30:.1f} GiB")
            damaged = archive.testzip()
            if damaged:
                raise ValueError(f"{damaged} is damaged")
    except (OSError, ValueError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: not a readable Keras model ({error})") from error


def all_of(root: Path) -> Iterator[Path]:
    """The run directories of `epochwise run`, the latest first."""
    for place in ("outputs", "multirun"):
        found = (path.parent for path in (root / place).glob(f"**/{RECORD}"))
        yield from sorted((folder for folder in found if not folder.name.startswith(".")), reverse=True)


def complete(folder: Path) -> dict | None:
    """run.json of a run that is trained, evaluated and FINISHED, with all its results beside it; else None."""
    if not all((folder / name).is_file() for name in (CONFIG, HISTORY, MODEL, METRICS, RECORD)):
        return None
    try:
        record = read_record(folder)
        read_metrics(folder), history.read(folder / HISTORY)
    except InputError:
        return None
    return record if record["status"] == "FINISHED" else None


def status(folder: Path) -> str | None:
    """What run.json says of the run in `folder`; None if there is none that is readable."""
    try:
        return read_record(folder)["status"]
    except InputError:
        return None


def find(root: Path, run_id: str) -> Path | None:
    """The run directory of `run_id` in models/, outputs/ or multirun/, or None."""
    for folder in (root / "models", *all_of(root)):
        try:
            record = read_record(folder)
            if run_id in (record["run_id"], record.get("token")):
                return folder
        except InputError:  # another run's record, torn or not there, is no reason not to find this one
            continue
    return None
