"""A user's own files through the whole pipeline: what was converted is said, recorded, and known to predict."""

import csv
import re

import numpy as np
import pytest
from conftest import Project
from PIL import Image

from epochwise.commands.photos.reading import read_photo
from epochwise.common.files import read_json
from epochwise.config.compose import load
from epochwise.data import sources
from epochwise.data.images import ReadOptions
from epochwise.data.own_files import reader_of
from epochwise.data.style import style_of
from epochwise.pipeline.datasets import check_data, prepared_for

FLOWERS = ("aster", "crocus", "dahlia", "iris", "lily", "rose", "tulip")
SETTINGS = ("train.epochs=1", "prepare.validation_size=42", "hydra.run.dir=outputs/own", "tracking=off")


def write_flowers(project: Project) -> None:
    """A folder of RGB pictures of seven named classes, of two sizes; each class has a colour of its own."""
    draw = np.random.default_rng(0)
    colours = draw.integers(60, 256, (7, 3))
    for part, count in (("train", 30), ("test", 4)):
        for label, name in enumerate(FLOWERS):
            folder = project.path / "flowers" / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                side = 12 if number else 14
                pixels = (colours[label] * draw.uniform(0.3, 1, (side, side, 1))).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.jpg" if number % 2 else folder / f"{number}.png")


def write_table(project: Project) -> None:
    images = sources.load_images("digits", project.path)
    with open(project.path / "digits.csv", "w", newline="") as file:
        rows = csv.writer(file, delimiter=";")
        rows.writerow([*(f"pixel{number}" for number in range(64)), "label"])
        for pixels, label in zip(images.x_train[:600], images.y_train[:600], strict=True):
            rows.writerow([*pixels.ravel(), f"digit {label}"])


def predict(project: Project) -> str:
    return project.ok("epochwise", "predict", "--random", "6", "--seed", "1", "--model", "outputs/own")


@pytest.mark.slow
def test_a_folder_of_pictures_with_seven_named_classes(project):
    write_flowers(project)
    printed = project.ok("epochwise", "run", "prepare.source=flowers", "prepare.image_size=12", *SETTINGS)
    assert "168 train, 42 validation, 28 test images of 12×12×3, 7 classes\n" in printed
    assert "converted: pictures resized from 12×12, 14×14 to 12×12\n" in printed
    meta = read_json(project.path / "outputs/own/run.json")["mlflow"]["dataset"]["meta"]
    assert meta["class_names"] == list(FLOWERS)
    assert meta["conversions"] == ["pictures resized from 12×12, 14×14 to 12×12"]
    table = predict(project)
    assert "6 random test images" in table
    assert set(re.findall("|".join(FLOWERS), table))
    metrics = (project.path / "outputs/own/class_metrics.csv").read_text()
    assert all(name in metrics for name in FLOWERS)


def test_predict_reads_these_pictures_as_the_training_did(project):
    """Textures are no writing, whose strokes would be looked for."""
    write_flowers(project)
    options = ReadOptions(image_size=12)
    images = sources.load_source("flowers", project.path, options).images
    known = np.concatenate([images.x_train, images.x_test]).astype(np.float32) / np.float32(255)
    style = style_of(known[len(images.x_train) :])
    assert not style.is_writing
    for path, expected in zip(reader_of(project.path / "flowers").files, known, strict=True):
        reading = read_photo(path, path.name, style, options)
        np.testing.assert_array_equal(reading.image, expected)
        assert (reading.inverted, reading.doubts) == (False, ())


@pytest.mark.long
def test_a_table_with_words_as_labels_and_no_test_set(project):
    write_table(project)
    printed = project.ok("epochwise", "run", "prepare.source=digits.csv", "prepare.test_size=60", *SETTINGS)
    assert "498 train, 42 validation, 60 test images of 8×8×1, 10 classes\n" in printed
    (line,) = [line for line in printed.splitlines() if line.startswith("converted: ")]
    for change in ("column 65 taken as the label (label)", "10 words as labels", "60 images split off as the test set"):
        assert change in line
    assert "digit " in predict(project)


def test_a_source_is_read_once_by_a_command_that_checks_and_prepares(project, monkeypatch):
    images = sources.load_images("digits", project.path)
    np.savez(project.path / "own.npz", **images._asdict())
    read: list[str] = []
    original = sources.reader_of

    def counting(path):
        reader = original(path)

        class Counting:
            files = reader.files

            def read(self, options):
                read.append(str(path))
                return reader.read(options)

        return Counting()

    monkeypatch.setattr(sources, "reader_of", counting)
    done = project.cli("prepare", "prepare.source=own.npz")
    assert done.returncode == 0 and len(read) == 1, done.stderr
    cfg = load(["prepare.source=own.npz"])
    check_data(cfg)
    check_data(cfg)
    first = prepared_for(cfg)
    assert len(read) == 2
    check_data(cfg)
    assert prepared_for(cfg) == first and len(read) == 2, "it is prepared, so it is not read at all"


@pytest.mark.parametrize("command", [["check"], ["prepare"], ["run", "--cfg", "job"]])
def test_conversions_are_printed_once_by_what_reads_the_data(project, command):
    images = sources.load_images("digits", project.path)
    arrays = images._asdict() | {"y_train": images.y_train + 1, "y_test": images.y_test + 1}
    np.savez(project.path / "own.npz", **arrays)
    done = project.cli(*command, "prepare.source=own.npz")
    assert done.returncode == 0, done.stderr
    expected = int(command[0] != "run")  # which prints the configuration and reads nothing
    assert done.stdout.count("converted: labels 1…10 counted from 0, with those numbers as names\n") == expected
