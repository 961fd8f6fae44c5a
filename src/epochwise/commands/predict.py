"""Classify pictures, or test images, with the pipeline's model or any run's: rows and a picture."""

import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from epochwise.commands.find_model import found_model
from epochwise.commands.photos.files import check_picture
from epochwise.commands.photos.reading import read_photo
from epochwise.commands.predictions import TABLE, Prediction, as_text, print_table
from epochwise.common.errors import InputError
from epochwise.common.paths import display_path
from epochwise.data.images import ReadOptions
from epochwise.data.prepared import Arrays
from epochwise.data.style import ImageStyle, style_of
from epochwise.evaluation import figures
from epochwise.pipeline.datasets import prepared_for
from epochwise.runs.directory import RunDirectory

WRITTEN_BY = "epochwise predict"  # what the picture's metadata says, so that no other picture is overwritten
UNSURE = 0.8  # a lower probability of the class that is predicted makes it doubtful: docs/own-data.md has the numbers
MOST_DRAWN = 600  # images in the picture: more would make it too high for Matplotlib
LONGEST_TITLE = 20  # characters of a picture's name under its image


@dataclass(frozen=True)
class Sample:
    """An image to classify, as the model reads it: float32 H×W×C in 0…1."""

    name: str
    image: np.ndarray
    truth: int | None = None  # the class of a test image; None for a user's picture
    doubts: tuple[str, ...] = ()  # what about the picture may have been read wrongly


def predict(
    photos: Sequence[str],
    count: int | None,
    model: Path | str | None,
    seed: int | None,
    out: Path,
    form: str,
    typed_in: Path,
) -> None:
    """Classify `photos`, or `count` test images drawn at random: print rows, and write a picture to `out`.

    The same `seed` draws the same images. `model` is a run directory, a .keras file in one, a run's id or `champion`;
    None means the pipeline's model. With `form` csv or json, nothing but the rows goes to stdout. Photos are paths from
    the directory `typed_in`, and are called as they were typed. Raises InputError; of photos that cannot be read when
    the others are done.
    """
    named = [(typed_in / photo, _shown_name(photo)) for photo in photos]
    _check_arguments([path for path, _ in named], count, seed, out)
    _check_one_is_a_picture(named)
    errors: list[str] = []
    with redirect_stdout(sys.stdout if form == TABLE else sys.stderr):
        with found_model(model) as (file, run):
            samples = _read_photos(named, run, errors) if count is None else _draw(count, *test_images_of(run), seed)
            from epochwise.training.model_file import load_model  # imports TensorFlow

            names = class_names_of(run)
            probabilities = load_model(file).predict(np.stack([sample.image for sample in samples]), verbose=0)
        rows = [prediction_of(sample, row, names) for sample, row in zip(samples, probabilities, strict=True)]
        if form == TABLE:
            print_table(rows)
        _write_picture(samples, rows, out)
        print(f"picture {display_path(out)}")
    if form != TABLE:
        print(as_text(rows, form), end="")
    if errors:
        raise InputError("\n".join(errors))


def _check_arguments(photos: list[Path], count: int | None, seed: int | None, out: Path) -> None:
    if (count is None) == (not photos):
        raise InputError("give pictures, or --random N for test images")
    if count is not None and count < 1:
        raise InputError(f"--random must be 1 or more, got {count}")
    if seed is not None and seed < 0:
        raise InputError(f"--seed must be 0 or more, got {seed}")
    if out.suffix != ".png" or not out.parent.is_dir():
        raise InputError(f"--out must be a .png in a folder that exists, got {out}")
    if out.exists() and any(path.exists() and os.path.samefile(path, out) for path in photos):
        raise InputError(f"{display_path(out)}: is a picture to classify; name another picture to write with --out")
    if out.exists() and not _is_own_picture(out):
        raise InputError(
            f"{display_path(out)}: is there and was not written by `epochwise predict`; "
            "name another picture to write with --out, or remove it"
        )


def _is_own_picture(path: Path) -> bool:
    """Whether a file is a picture that predict has written."""
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            return picture.info.get("Software") == WRITTEN_BY
    except Exception:  # Pillow's decoders raise errors of many types, because a file can hold anything
        return False


def _shown_name(typed: str) -> str:
    """A picture's path as it was typed; what cannot be printed in a line is replaced."""
    name = os.fsencode(typed).decode(errors="replace")
    return "".join(character if character.isprintable() else "\ufffd" for character in name)


def _check_one_is_a_picture(photos: list[tuple[Path, str]]) -> None:
    """Raise InputError if there are photos and none is a picture, before a model is looked for."""
    errors = []
    for path, name in photos:
        try:
            check_picture(path, name)
        except InputError as error:
            errors.append(str(error))
    if errors and len(errors) == len(photos):
        raise InputError("\n".join(errors))


def test_images_of(run: RunDirectory) -> Arrays:
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


def _read_photos(photos: list[tuple[Path, str]], run: RunDirectory, errors: list[str]) -> list[Sample]:
    """The photos in the style of the model's images; a line on each that cannot be classified goes to `errors`.

    Raises InputError if there is no other.
    """
    style, options = style_of_run(run), read_options_of(run)
    samples, inverted = list[Sample](), list[str]()
    for path, name in photos:
        try:
            reading = read_photo(path, name, style, options)
        except InputError as error:
            errors.append(str(error))
            continue
        samples.append(Sample(name, reading.image, doubts=reading.doubts))
        inverted += [name] * reading.inverted
    if not samples:
        raise InputError("\n".join(errors))
    if inverted:
        known = "dark on bright" if style.bright_background else "bright on dark"
        which = inverted[0] if len(inverted) == 1 else f"{len(inverted)} of {len(samples)} pictures"
        print(f"{which}: inverted, for the model knows {known}")
    return samples


def _data_meta(run: RunDirectory) -> dict:
    """What the run's record says of its data, if it says how the images look; empty for records of early versions."""
    dataset = run.read_record().mlflow.get("dataset")
    meta = dataset.get("meta") if isinstance(dataset, dict) else None
    return meta if isinstance(meta, dict) and meta.get("image_style") else {}


def style_of_run(run: RunDirectory) -> ImageStyle:
    """How the model's images look: from the run's record, or from the test images if that does not say."""
    meta = _data_meta(run)
    return ImageStyle.from_json(meta["image_style"], run.record) if meta else style_of(test_images_of(run)[0])


def read_options_of(run: RunDirectory) -> ReadOptions:
    """How the source of the run's data was read."""
    return ReadOptions.of(_data_meta(run).get("prepare") or run.read_config().prepare)


def class_names_of(run: RunDirectory) -> list[str]:
    """What the data of the run calls its classes; their numbers if it has no names."""
    meta = _data_meta(run)
    if meta:
        names, classes = meta.get("class_names"), meta.get("classes")
    else:
        prepared = prepared_for(run.read_config()).meta
        names, classes = prepared.class_names, prepared.classes
    return list(names) if names else [str(number) for number in range(classes or 0)]


def prediction_of(sample: Sample, probabilities: np.ndarray, names: Sequence[str]) -> Prediction:
    """The row of an image. The classes are called by their names."""
    second, first = (int(number) for number in np.argsort(probabilities)[-2:])
    doubts = sample.doubts
    if probabilities[first] < UNSURE:
        doubts = (*doubts, f"unsure: {names[first]} or {names[second]}")
    return Prediction(
        image=sample.name,
        predicted=names[first],
        probability=float(probabilities[first]),
        second=names[second],
        second_probability=float(probabilities[second]),
        truth=None if sample.truth is None else names[sample.truth],
        hint="; ".join(doubts),
    )


def _write_picture(samples: list[Sample], rows: list[Prediction], out: Path) -> None:
    """Draw the images under their predictions: wrong ones red, doubtful ones orange."""
    titles, colours = [], []
    for row in rows[:MOST_DRAWN]:
        name = Path(row.image).name
        short = name if len(name) <= LONGEST_TITLE else f"…{name[1 - LONGEST_TITLE :]}"
        below = short if row.truth is None else f"truth {row.truth}"
        titles.append(f"{row.predicted} ({row.probability:.1%})\n{below}")
        colours.append("tab:red" if row.is_wrong else "tab:orange" if row.hint else "black")
    heading = "predictions" if rows[0].truth is None else "predictions for random test images"
    if len(rows) > MOST_DRAWN:
        heading += f", the first {MOST_DRAWN} of {len(rows)}"
    images = np.stack([sample.image for sample in samples[:MOST_DRAWN]])
    figures.images(images, titles, colours, out, heading, WRITTEN_BY)
