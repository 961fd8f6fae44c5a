"""Classify test digits with the pipeline's model or any run's: a table and a picture."""

import tempfile
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table

from epochwise import InputError, figures, rundir
from epochwise.config import load
from epochwise.pipeline import MODELS, prepared_for
from epochwise.project import find_root, main_root
from epochwise.tracking import CHAMPION, champion, fetch_run


def predict_random(count: int, model: Path | str | None, seed: int | None, out: Path) -> None:
    """Print a table of `count` test images drawn at random (the same for the same `seed`) and draw them into `out`.

    `model` is a run directory, a .keras file in one, a run's id or `champion`; None means the pipeline's. Raises
    InputError.
    """
    if count < 1:
        raise InputError(f"--random must be 1 or more, got {count}")
    if seed is not None and seed < 0:
        raise InputError(f"--seed must be 0 or more, got {seed}")
    if out.suffix != ".png" or not out.parent.is_dir():
        raise InputError(f"--out must be a .png in a folder that exists, got {out}")
    with tempfile.TemporaryDirectory() as scratch:
        file = _model_file(model, Path(scratch))
        for path in (file, file.parent / rundir.CONFIG):
            if not path.is_file():
                raise InputError(f"{path}: not there; train first, with `dvc repro` or `epochwise run`")
        images, labels = prepared_for(OmegaConf.load(file.parent / rundir.CONFIG)).arrays("test")
        if count > len(images):
            raise InputError(f"--random must be in 1…{len(images)}, the test images that there are, got {count}")
        chosen = np.random.default_rng(seed).choice(len(images), size=count, replace=False)
        probabilities = _probabilities(file, images[chosen])
    actual, predicted = labels[chosen].argmax(axis=1), probabilities.argmax(axis=1)

    table = Table(title=f"{len(chosen)} random test images, {np.sum(actual == predicted)} right")
    for column in ("image", "prediction", "probability", "truth", "result"):
        table.add_column(column, justify="right")
    titles = []
    for index, row, truth, guess in zip(chosen, probabilities, actual, predicted, strict=True):
        table.add_row(str(index), str(guess), f"{row[guess]:.2%}", str(truth), "right" if guess == truth else "wrong")
        titles.append(f"{guess} ({row[guess]:.1%})\ntruth {truth}")
    colours = ["black" if right else "tab:red" for right in actual == predicted]
    Console().print(table)
    figures.images(images[chosen], titles, colours, out, "predictions for random test images")
    print(f"picture {out}")


def _model_file(model: Path | str | None, scratch: Path) -> Path:
    root = find_root()
    if model is None:
        return root / MODELS / rundir.MODEL
    if isinstance(model, Path):
        return model / rundir.MODEL if model.is_dir() else model
    if model == CHAMPION:
        name = load([]).tracking.experiment
        found = champion(main_root(), name)
        if found is None:
            raise InputError(f"{name}: has no champion in MLflow's registry; `epochwise promote` makes one")
        model = found["run_id"]
    folder = rundir.find(root, model)
    if folder is None:
        fetch_run(main_root(), model, scratch)
    return (folder or scratch) / rundir.MODEL


def _probabilities(model: Path, images: np.ndarray) -> np.ndarray:
    from epochwise.model import load_model

    return load_model(model).predict(images, verbose=0)
