"""A run directory: the files that hold a run's results, and run.json, the record of how they came about."""

import contextlib
import hashlib
import uuid
from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig

from epochwise import InputError
from epochwise.files import read_json, write_json
from epochwise.lineage import Lineage
from epochwise.trajectory import fingerprint, legs, trajectory_key

CONFIG, HISTORY, MODEL, METRICS, RECORD = "config.yaml", "history.csv", "model.keras", "metrics.json", "run.json"
DIFF = "git.diff"  # there only if the code was not as committed
COSTS = ("epochs_trained", "epochs_reused", "steps_trained", "train_seconds", "trajectory_seconds")


def new_record(cfg: DictConfig, lineage: Lineage, data_sha256: str) -> dict:
    """What run.json says when a run starts. Its id is MLflow's, once MLflow has given it one."""
    identity = legs(cfg, data_sha256)[-1].identity
    return {
        "run_id": uuid.uuid4().hex,
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
        "git_commit": lineage.git_commit,
        "git_dirty": lineage.git_dirty,
        "git_diff": hashlib.sha256(lineage.git_diff.encode()).hexdigest() if lineage.git_diff else None,
        "published": False,
        "identity": identity,  # what `trajectory` is the hash of
    }


def clear(folder: Path) -> None:
    """Remove an earlier run's results, so that no score of theirs is ever taken for the run that starts."""
    for name in (HISTORY, MODEL, METRICS, DIFF):
        (folder / name).unlink(missing_ok=True)


def last_sign(folder: Path) -> float | None:
    """When the run in `folder` last wrote its record, in seconds since 1970; None if it did not."""
    try:
        return (folder / RECORD).stat().st_mtime
    except OSError:
        return None


def settle(folder: Path, run_ids: set[str]) -> str:
    """How the run in `folder`, one of these, ended, its process being gone: as run.json says, or else KILLED.

    If run.json still says RUNNING, it now says KILLED. The folder may be gone, not writable, or another run's by now.
    """
    with contextlib.suppress(InputError, OSError):
        record = read_json(folder / RECORD)
        if record.get("run_id") in run_ids and record.get("status") != "RUNNING":
            return str(record["status"])
        if record.get("run_id") in run_ids:
            write_json(folder / RECORD, record | {"status": "KILLED"})
    return "KILLED"


def read_finished(folder: Path) -> dict:
    """run.json of a run whose training is complete. Raises InputError if it is not there or did not finish."""
    for name in (RECORD, CONFIG, HISTORY, MODEL):
        if not (folder / name).is_file():
            raise InputError(f"{folder}: has no {name}; train first, with `dvc repro` or `epochwise run`")
        record = read_json(folder / RECORD)
        if record.get("status") != "FINISHED":
            raise InputError(f"{folder}: its training is {record.get('status')}, not FINISHED; train again")
    return record


def all_of(root: Path) -> Iterator[Path]:
    """The run directories of `epochwise run`, the latest first."""
    for place in ("outputs", "multirun"):
        found = (path.parent for path in (root / place).glob(f"**/{RECORD}"))
        yield from sorted((folder for folder in found if not folder.name.startswith(".")), reverse=True)


def complete(folder: Path) -> dict | None:
    """run.json of a run that is trained, evaluated and FINISHED, with all its results beside it; else None."""
    try:
        record = read_json(folder / RECORD)
    except InputError:
        return None
    whole = all((folder / name).is_file() for name in (CONFIG, HISTORY, MODEL, METRICS))
    return record if whole and record.get("status") == "FINISHED" else None


def status(folder: Path) -> str | None:
    """What run.json says of the run in `folder`; None if there is none that is readable."""
    try:
        return read_json(folder / RECORD).get("status")
    except InputError:
        return None


def find(root: Path, run_id: str) -> Path | None:
    """The run directory of `run_id` in models/, outputs/ or multirun/, or None."""
    for folder in (root / "models", *all_of(root)):
        try:
            if read_json(folder / RECORD).get("run_id") == run_id:
                return folder
        except InputError:  # another run's record, torn or not there, is no reason not to find this one
            continue
    return None
