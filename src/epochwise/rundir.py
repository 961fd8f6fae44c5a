"""A run directory: the files that hold a run's results, and run.json, the record of how they came about."""

import uuid
from pathlib import Path

from omegaconf import DictConfig

from epochwise import InputError
from epochwise.files import read_json
from epochwise.lineage import Lineage, fingerprint, trajectory

CONFIG, HISTORY, MODEL, METRICS, RECORD = "config.yaml", "history.csv", "model.keras", "metrics.json", "run.json"


def new_record(cfg: DictConfig, lineage: Lineage, data_sha256: str) -> dict:
    """What run.json says when a run starts. Its id is MLflow's, once MLflow has given it one."""
    path = trajectory(cfg, data_sha256)
    return {
        "run_id": uuid.uuid4().hex,
        "experiment": cfg.tracking.experiment,
        "fingerprint": fingerprint(path, cfg.train.epochs),
        "trajectory": path,
        "weights_sha256": None,
        "data_sha256": data_sha256,
        "epochs": cfg.train.epochs,
        "epochs_trained": 0,
        "epochs_reused": 0,
        "steps_trained": 0,
        "train_seconds": 0.0,
        "status": "RUNNING",
        "git_commit": lineage.git_commit,
        "git_dirty": lineage.git_dirty,
        "published": False,
    }


def clear(folder: Path) -> None:
    """Remove an earlier run's results, so that no score of theirs is ever taken for the run that starts."""
    for name in (HISTORY, MODEL, METRICS):
        (folder / name).unlink(missing_ok=True)


def read_finished(folder: Path) -> dict:
    """run.json of a run whose training is complete. Raises InputError if it is not there or did not finish."""
    for name in (RECORD, CONFIG, HISTORY, MODEL):
        if not (folder / name).is_file():
            raise InputError(f"{folder}: has no {name}; train first, with `dvc repro` or `epochwise run`")
    record = read_json(folder / RECORD)
    if record.get("status") != "FINISHED":
        raise InputError(f"{folder}: its training is {record.get('status')}, not FINISHED; train again")
    return record


def find(root: Path, run_id: str) -> Path | None:
    """The run directory of `run_id` in models/, outputs/ or multirun/, or None."""
    for pattern in ("models", "outputs/*/*", "multirun/*/*/*"):
        for folder in root.glob(pattern):
            try:
                if read_json(folder / RECORD).get("run_id") == run_id:
                    return folder
            except InputError:  # another run's record, torn or not there, is no reason not to find this one
                continue
    return None
