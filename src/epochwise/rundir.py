"""A run directory: the files that hold a run's results, and run.json, the record of how they came about."""

import csv
import uuid
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from epochwise import InputError
from epochwise.files import read_json, write_json
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


def write_record(folder: Path, record: dict) -> None:
    write_json(folder / RECORD, record)


def read_record(folder: Path) -> dict:
    return read_json(folder / RECORD)


def read_history(folder: Path) -> list[dict[str, float]]:
    """Rows of history.csv: epoch (int, from 1), loss, accuracy, val_loss, val_accuracy."""
    with open(folder / HISTORY, encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [{key: int(value) if key == "epoch" else float(value) for key, value in row.items()} for row in rows]


def best_epoch(history: list[dict[str, float]]) -> dict[str, float]:
    """The row of the highest validation accuracy, the earliest of equals."""
    return max(history, key=lambda row: row["val_accuracy"])


def read_config(folder: Path) -> DictConfig:
    return OmegaConf.load(folder / CONFIG)


def find(root: Path, run_id: str) -> Path | None:
    """The run directory of `run_id` below models/, outputs/ or multirun/, or None."""
    for pattern in ("models", "outputs/*/*", "multirun/*/*/*"):
        for folder in root.glob(pattern):
            if (folder / RECORD).is_file() and read_record(folder).get("run_id") == run_id:
                return folder
    return None


def require(folder: Path, *names: str) -> None:
    """Raise InputError unless `folder` holds these files."""
    for name in names:
        if not (folder / name).is_file():
            raise InputError(f"{folder}: has no {name}; train first, with `dvc repro` or `epochwise run`")
