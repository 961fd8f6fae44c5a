"""Classify test digits with the pipeline's model or any run's: a table and a picture."""

import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from epochwise import InputError, figures, rundir
from epochwise.config import find_root, main_root
from epochwise.pipeline import MODELS, prepared_for
from epochwise.tracking import fetch_run


def predict_random(count: int, model: str | None, seed: int | None, out: Path) -> None:
    """Print a table of `count` test images drawn at random (the same for the same `seed`) and draw them into `out`.

    `model` is a run's id, a run directory or a .keras file in one; None means the pipeline's. Raises InputError.
    """
    if count < 1:
        raise InputError(f"--random must be 1 or more, got {count}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = _run_folder(model, Path(scratch))
        rundir.require(folder, rundir.MODEL, rundir.CONFIG)
        cfg = rundir.read_config(folder)
        images, labels = prepared_for(cfg).arrays("test")
        chosen = np.random.default_rng(seed).choice(len(images), size=min(count, len(images)), replace=False)
        probabilities = _probabilities(folder / rundir.MODEL, images[chosen])
    actual, predicted = labels[chosen].argmax(axis=1), probabilities.argmax(axis=1)

    table = Table(title=f"{len(chosen)} random test images, {np.sum(actual == predicted)} right")
    for column in ("image", "prediction", "probability", "truth", ""):
        table.add_column(column, justify="right")
    titles = []
    for index, row, truth, guess in zip(chosen, probabilities, actual, predicted, strict=True):
        table.add_row(str(index), str(guess), f"{row[guess]:.2%}", str(truth), "" if guess == truth else "wrong")
        titles.append(f"{guess} ({row[guess]:.1%})\ntruth {truth}")
    colours = ["black" if right else "tab:red" for right in actual == predicted]
    Console().print(table)
    figures.images(images[chosen], titles, colours, out, "predictions for random test images")
    print(f"picture {out}")


def _run_folder(model: str | None, scratch: Path) -> Path:
    root = find_root()
    if model is None:
        return root / MODELS
    path = Path(model)
    if path.exists():
        return path if path.is_dir() else path.parent
    found = rundir.find(root, model)
    if found is None:
        fetch_run(main_root(), model, scratch)
    return found or scratch


def _probabilities(model: Path, images: np.ndarray) -> np.ndarray:
    from epochwise.model import load_model

    return load_model(model).predict(images, verbose=0)
