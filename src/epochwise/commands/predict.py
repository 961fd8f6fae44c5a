"""Classify pictures, or test images, with the pipeline's model or any run's: a table and a picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from epochwise.commands.find_model import found_model
from epochwise.commands.photos import check_photo, read_photo, style_of
from epochwise.common.errors import InputError
from epochwise.common.paths import display_path
from epochwise.data.prepared import Arrays
from epochwise.evaluation import figures
from epochwise.pipeline.datasets import prepared_for
from epochwise.runs.directory import RunDirectory


@dataclass(frozen=True)
class Sample:
    """An image to classify, as the model reads it: float32 H×W×C in 0…1."""

    name: str
    image: np.ndarray
    truth: int | None  # the class of a test image; None for a user's picture


def predict(photos: list[Path], count: int | None, model: Path | str | None, seed: int | None, out: Path) -> None:
    """Classify `photos`, or `count` test images drawn at random: print a table, and write a picture to `out`.

    The same `seed` draws the same images. `model` is a run directory, a .keras file in one, a run's id or `champion`;
    None means the pipeline's model. Raises InputError.
    """
    _check_arguments(photos, count, seed, out)
    with found_model(model) as (file, run):
        images, labels = _test_images(run)
        samples = _read_photos(photos, images) if count is None else _draw(count, images, labels, seed)
        from epochwise.training.model_file import load_model  # imports TensorFlow

        names = _class_names(run)
        probabilities = load_model(file).predict(np.stack([sample.image for sample in samples]), verbose=0)
    _print_table(samples, probabilities, names)
    _write_picture(samples, probabilities, names, out)
    print(f"picture {display_path(out)}")


def _check_arguments(photos: list[Path], count: int | None, seed: int | None, out: Path) -> None:
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


def _test_images(run: RunDirectory) -> Arrays:
    """The test set that belongs to the run's training data. Raises InputError if the source has changed since."""
    cfg, record = run.read_config(), run.read_record()
    data = prepared_for(cfg)
    if data.sha256 != record.data_sha256:
        raise InputError(
            f"prepare.source: {cfg.prepare.source} is not as it was when {run.path} was trained; bring that back"
        )
    return data.arrays("test")


def _draw(count: int, images: np.ndarray, labels: np.ndarray, seed: int | None) -> list[Sample]:
    """Test images drawn at random, named by their index."""
    if count > len(images):
        raise InputError(f"--random must be in 1…{len(images)}, the test images that there are, got {count}")
    chosen = np.random.default_rng(seed).choice(len(images), size=count, replace=False)
    return [Sample(str(index), images[index], int(labels[index].argmax())) for index in chosen]


def _read_photos(paths: list[Path], test_images: np.ndarray) -> list[Sample]:
    """The user's pictures in the style of the test images."""
    style = style_of(test_images)
    pictures = [read_photo(path, style) for path in paths]
    names = [display_path(Path(path.name)) for path in paths]
    known = "dark on bright" if style.bright_background else "bright on dark"
    for name, (_, inverted) in zip(names, pictures, strict=True):
        if inverted:
            print(f"{name}: inverted, for the model knows {known}")
    return [Sample(name, image, None) for name, (image, _) in zip(names, pictures, strict=True)]


def _class_names(run: RunDirectory) -> list[str]:
    """What the data of the run calls its classes; their numbers if it has no names."""
    meta = prepared_for(run.read_config()).meta
    return meta.class_names or [str(number) for number in range(meta.classes)]


def _print_table(samples: list[Sample], probabilities: np.ndarray, names: Sequence[str]) -> None:
    """Print a row for each image: of test images with the truth, of pictures with the second guess."""
    guesses = probabilities.argmax(axis=1)
    are_test_images = samples[0].truth is not None
    right = sum(guess == sample.truth for guess, sample in zip(guesses, samples, strict=True))
    title = f"{len(samples)} {'random test image' if are_test_images else 'picture'}{'s' * (len(samples) > 1)}"
    table = Table(title=f"{title}, {right} right" if are_test_images else title)
    columns = ("truth", "result") if are_test_images else ("second guess",)
    for column in ("image", "prediction", "probability", *columns):
        table.add_column(column, justify="right")
    for sample, guess, row in zip(samples, guesses, probabilities, strict=True):
        second = int(np.argsort(row)[-2])
        truth = (names[sample.truth or 0], "right" if guess == sample.truth else "wrong")
        rest = truth if are_test_images else (f"{names[second]} ({row[second]:.2%})",)
        table.add_row(escape(sample.name), names[guess], f"{row[guess]:.2%}", *rest)
    Console().print(table)


def _write_picture(samples: list[Sample], probabilities: np.ndarray, names: Sequence[str], out: Path) -> None:
    """Draw the images under their predictions; wrong ones are red."""
    titles, colours = [], []
    for sample, row in zip(samples, probabilities, strict=True):
        guess = int(row.argmax())
        second_line = sample.name if sample.truth is None else f"truth {names[sample.truth]}"
        titles.append(f"{names[guess]} ({row[guess]:.1%})\n{second_line}")
        colours.append("black" if sample.truth in (None, guess) else "tab:red")
    heading = "predictions" if samples[0].truth is None else "predictions for random test images"
    figures.images(np.stack([sample.image for sample in samples]), titles, colours, out, heading)
