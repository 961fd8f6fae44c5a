"""Classify pictures, or test images, with the pipeline's model or any run's: a table and a picture."""

import os
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from epochwise.commands.photos import check_photo, look_of, read_photo
from epochwise.common.errors import InputError
from epochwise.common.paths import find_root, main_root
from epochwise.config.compose import load
from epochwise.evaluation import figures
from epochwise.pipeline.stages import MODELS, prepared_for
from epochwise.runs import directory as rundir
from epochwise.tracking.server import CHAMPION, champion, fetch_run


def predict(photos: list[Path], count: int | None, model: Path | str | None, seed: int | None, out: Path) -> None:
    """Classify `photos`, or `count` test images drawn at random (the same for the same `seed`): a table, and a picture.

    `model` is a run directory, a .keras file in one, a run's id or `champion`; None means the pipeline's. Raises
    InputError.
    """
    if (count is None) == (not photos):
        raise InputError("give pictures, or --random N for test images")
    if count is not None and count < 1:
        raise InputError(f"--random must be 1 or more, got {count}")
    if seed is not None and seed < 0:
        raise InputError(f"--seed must be 0 or more, got {seed}")
    if out.suffix != ".png" or not out.parent.is_dir():
        raise InputError(f"--out must be a .png in a folder that exists, got {out}")
    for path in photos:
        check_photo(path)
    with tempfile.TemporaryDirectory() as scratch:
        file = _model_file(model, Path(scratch))
        for path in (file, *(file.parent / name for name in (rundir.CONFIG, rundir.RECORD))):
            if not path.is_file():
                raise InputError(f"{path}: not there; train first, with `dvc repro`, or name a run by --model")
        rundir.check_model(file)
        images, labels = _test_images(file.parent)
        if photos:
            shown = _photos(photos, images)
            names, truths = [_shown(path.name) for path in photos], [None] * len(photos)
        else:
            if count > len(images):
                raise InputError(f"--random must be in 1…{len(images)}, the test images that there are, got {count}")
            chosen = np.random.default_rng(seed).choice(len(images), size=count, replace=False)
            shown, names, truths = images[chosen], list(map(str, chosen)), labels[chosen].argmax(axis=1).tolist()
        probabilities = _probabilities(file, shown)
    _tell(names, truths, probabilities)
    _draw(shown, names, truths, probabilities, out)
    print(f"picture {_shown(out)}")


def _shown(path: Path | str) -> str:
    """A path to print: its bytes may be no text."""
    return os.fsencode(path).decode(errors="replace")


def _test_images(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of the data that the run in `folder` was trained for. Raises InputError if they are others."""
    cfg, record = rundir.read_config(folder), rundir.read_record(folder)
    prepared = prepared_for(cfg)
    if prepared.sha256 != record["data_sha256"]:
        raise InputError(f"prepare.source: {cfg.prepare.source} is not as {folder} was trained on; bring that back")
    return prepared.arrays("test")


def _photos(paths: list[Path], like: np.ndarray) -> np.ndarray:
    look = look_of(like)
    found = [read_photo(path, look) for path in paths]
    known = "dark on bright" if look.bright else "bright on dark"
    for path, (_, inverted) in zip(paths, found, strict=True):
        if inverted:
            print(f"{_shown(path.name)}: inverted, for the model knows {known}")
    return np.stack([image for image, _ in found])


def _tell(names: list[str], truths: list[int | None], probabilities: np.ndarray) -> None:
    """A table: of test images with the truth, of pictures with the second guess."""
    known = truths[0] is not None
    guesses = probabilities.argmax(axis=1)
    right = f", {sum(guess == truth for guess, truth in zip(guesses, truths, strict=True))} right" if known else ""
    kind = "random test image" if known else "picture"
    table = Table(title=f"{len(names)} {kind}{'s' * (len(names) > 1)}{right}")
    for column in ("image", "prediction", "probability", *(("truth", "result") if known else ("or else",))):
        table.add_column(column, justify="right")
    for name, truth, guess, row in zip(names, truths, guesses, probabilities, strict=True):
        second = int(np.argsort(row)[-2])
        rest = (str(truth), "right" if guess == truth else "wrong") if known else (f"{second} ({row[second]:.2%})",)
        table.add_row(escape(name), str(guess), f"{row[guess]:.2%}", *rest)
    Console().print(table)


def _draw(images: np.ndarray, names: list[str], truths: list[int | None], probabilities: np.ndarray, out: Path) -> None:
    guesses = probabilities.argmax(axis=1)
    told = [name if truth is None else f"truth {truth}" for name, truth in zip(names, truths, strict=True)]
    titles = [
        f"{guess} ({row[guess]:.1%})\n{said}" for guess, row, said in zip(guesses, probabilities, told, strict=True)
    ]
    wrong = [truth is not None and guess != truth for guess, truth in zip(guesses, truths, strict=True)]
    heading = "predictions for random test images" if truths[0] is not None else "predictions"
    figures.images(images, titles, ["tab:red" if is_wrong else "black" for is_wrong in wrong], out, heading)


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
    from epochwise.training.network import load_model

    return load_model(model).predict(images, verbose=0)
