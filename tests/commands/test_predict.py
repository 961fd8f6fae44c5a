"""Predictions of the pipeline's model for random test images and for pictures of the user."""

import csv
import io
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Project, copy_project
from PIL import Image, ImageFile

from epochwise.commands.predict import UNSURE
from epochwise.common.files import read_json
from epochwise.config.compose import load
from epochwise.pipeline.run import run_configuration
from epochwise.runs.directory import RunDirectory


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tensors) -> Project:
    """A project with prepared data and a trained model. Tests only read it."""
    made = copy_project(tmp_path_factory.mktemp("trained") / "project")
    settings = ("train.epochs=1", "tracking=off")
    for stage in ("prepare", "train"):
        done = made.cli(stage, *settings)
        assert done.returncode == 0, done.stderr
    return made


def predict(project: Project, *arguments: str) -> str:
    done = project.cli("predict", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_draws_and_lists_random_test_images(trained, tmp_path):
    arguments = ("--random", "5", "--seed", "1", "--out", str(tmp_path / "picture.png"))
    printed = predict(trained, *arguments)
    assert "5 random test images" in printed
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    run_id = read_json(trained.path / "models/run.json")["run_id"]
    assert predict(trained, *arguments, "--model", run_id) == printed
    assert predict(trained, *arguments, "--model", "models") == printed
    assert predict(trained, *arguments, "--model", "models/model.keras") == printed


def test_it_refuses_more_random_images_than_there_are(trained, tmp_path):
    done = trained.cli("predict", "--random", "298", "--out", str(tmp_path / "picture.png"))
    assert (done.returncode, done.stderr) == (
        2,
        "error: --random must be in 1…297, the test images that there are, got 298\n",
    )


@pytest.mark.slow
def test_it_reads_pictures_of_the_user(trained, tmp_path):
    """In a process of its own, because the bytes of the file's name are no text there."""
    with np.load(trained.path / "data/prepared/data.npz") as data:
        image, truth = data["x_test"][0, ..., 0], data["y_test"][0].argmax()
    paper = Image.new("L", (300, 200), 255)
    paper.paste(Image.fromarray(255 - (image * 255).astype(np.uint8)).resize((80, 80)), (10, 90))
    photo = tmp_path / "what it $costs$ \udcff.png"
    paper.save(photo)
    printed = trained.ok("epochwise", "predict", str(photo), "--out", str(tmp_path / "picture.png"))
    assert ".png: inverted, for the model knows bright on dark" in printed
    assert "second guess" in printed
    (row,) = [line for line in printed.splitlines() if "what it $costs$" in line and "%" in line]
    assert row.split("│")[2].strip() == str(truth)


def test_a_model_that_dvc_has_brought_needs_no_record_of_its_run(trained, tmp_path):
    """After `dvc pull` in a fresh clone, models/ holds DVC's outputs, of which run.json is none."""
    arguments = ("--random", "5", "--seed", "1", "--out", str(tmp_path / "picture.png"))
    expected = predict(trained, *arguments)
    clone = Project(tmp_path / "clone")
    shutil.copytree(trained.path, clone.path, ignore=shutil.ignore_patterns("run.json", ".epochwise"))
    assert expected in predict(clone, *arguments)
    assert predict(clone, *arguments) == expected, "the record that was made is found again"


def test_it_refuses_data_that_the_model_was_not_made_for(project, tensors):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 8, 8), np.uint8)
    own = {"x_train": pixels, "y_train": np.arange(40) % 4}
    own |= {"x_test": own["x_train"][:8], "y_test": own["y_train"][:8]}
    np.savez(project.path / "own.npz", **own)
    cfg = load(["prepare.source=own.npz", "prepare.validation_size=0", "train.epochs=1", "tracking=off"])
    run_configuration(cfg, project.path / "outputs" / "own", [])
    own["x_test"] = own["x_test"] + 1
    np.savez(project.path / "own.npz", **own)
    refused = project.cli("predict", "--random", "2", "--model", "outputs/own")
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1
    assert "own.npz is not as" in refused.stderr


def photo(trained: Project, path: Path, index: int = 0) -> str:
    """Write a test image as ink on paper; return its class."""
    with np.load(trained.path / "data/prepared/data.npz") as data:
        image, truth = data["x_test"][index, ..., 0], data["y_test"][index].argmax()
    paper = Image.new("L", (300, 200), 250)
    paper.paste(Image.fromarray(250 - (image * 240).astype(np.uint8)).resize((80, 80)), (110, 60))
    paper.save(path)
    return str(truth)


def test_bad_pictures_do_not_keep_good_ones_from_being_classified(trained, tmp_path):
    photo(trained, tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    Image.new("L", (50, 50), 255).save(tmp_path / "blank.png")
    pictures = [str(tmp_path / name) for name in ("bad.png", "good.png", "missing.png", "blank.png")]
    done = trained.cli("predict", *pictures, "--out", str(tmp_path / "picture.png"), "--format", "csv")
    assert done.returncode == 2
    assert [row["image"] for row in csv.DictReader(io.StringIO(done.stdout))] == [pictures[1]]
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert [line.split(": ")[1] for line in errors] == [pictures[0], pictures[2], pictures[3]]
    assert f"error: {pictures[2]}: not there" in errors
    assert (tmp_path / "picture.png").is_file()


def test_a_picture_is_called_as_it_was_typed(trained, tmp_path):
    photo(trained, trained.path / "p.png")
    photo(trained, tmp_path / "q.png")
    typed = ["./p.png", str(trained.path / "p.png"), "conf/../p.png", os.path.relpath(tmp_path / "q.png", trained.path)]
    try:
        printed = predict(trained, *typed, "--out", str(tmp_path / "picture.png"), "--format", "json")
    finally:
        (trained.path / "p.png").unlink()
    assert [row["image"] for row in json.loads(printed)] == typed


def test_each_picture_is_decoded_once(trained, tmp_path, monkeypatch):
    for name in ("p.png", "q.png"):
        photo(trained, tmp_path / name)
    decoded: list[str] = []
    original = ImageFile.ImageFile.load

    def counting(picture: ImageFile.ImageFile) -> object:
        decoded.extend([str(picture.filename)] * bool(picture.tile))  # which is empty once it is decoded
        return original(picture)

    monkeypatch.setattr(ImageFile.ImageFile, "load", counting)
    pictures = [str(tmp_path / name) for name in ("p.png", "q.png")]
    predict(trained, *pictures, "--out", str(tmp_path / "picture.png"))
    assert [path for path in decoded if path in pictures] == pictures


def test_if_no_picture_can_be_read_nothing_is_written(trained, tmp_path):
    done = trained.cli("predict", "nope.png", "no.jpg", "--out", str(tmp_path / "picture.png"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: nope.png: not there\nerror: no.jpg: not there\n"
    assert not (tmp_path / "picture.png").exists()


def test_csv_and_json_say_the_same_and_have_stdout_for_themselves(trained, tmp_path):
    photo(trained, tmp_path / "a, b.png")
    photo(trained, tmp_path / "c.png", 1)
    arguments = (str(tmp_path / "a, b.png"), str(tmp_path / "c.png"), "--out", str(tmp_path / "picture.png"))
    in_json = trained.cli("predict", *arguments, "--format", "json")
    rows = json.loads(in_json.stdout)
    assert [list(row) for row in rows] == [["image", "predicted", "probability", "hint"]] * 2
    assert "inverted" in in_json.stderr and "picture " in in_json.stderr
    in_csv = list(csv.DictReader(io.StringIO(predict(trained, *arguments, "--format", "csv"))))
    assert in_csv == [{key: str(value) for key, value in row.items()} for row in rows]
    table = predict(trained, *arguments)
    assert all(f"{row['probability']:.2%}" in table for row in rows)


def test_rows_of_test_images_have_the_truth(trained, tmp_path):
    arguments = ("--random", "20", "--seed", "1", "--out", str(tmp_path / "picture.png"))
    rows = json.loads(predict(trained, *arguments, "--format", "json"))
    assert [list(row) for row in rows] == [["image", "predicted", "probability", "truth", "hint"]] * 20
    right = sum(row["predicted"] == row["truth"] for row in rows)
    assert f"20 random test images, {right} right" in predict(trained, *arguments)
    unsure = [row for row in rows if row["probability"] < UNSURE]
    assert unsure and all(row["hint"].startswith("unsure: ") for row in unsure)
    assert not any(row["hint"] for row in rows if row not in unsure)


def test_a_picture_that_is_not_its_own_is_not_overwritten(trained, tmp_path):
    target = tmp_path / "predictions.png"
    arguments = ("--random", "2", "--seed", "1", "--out", str(target))
    predict(trained, *arguments)
    first = target.read_bytes()
    predict(trained, *arguments)  # one that it made is
    assert target.read_bytes() == first
    Image.new("L", (9, 9)).save(target)
    for content in (target.read_bytes(), b"no picture", b""):
        target.write_bytes(content)
        done = trained.cli("predict", *arguments)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "predictions.png: is there and was not written by `epochwise predict`; name another" in done.stderr
        assert target.read_bytes() == content


def test_a_picture_to_classify_is_not_overwritten(trained, tmp_path):
    target = tmp_path / "p.png"
    predict(trained, "--random", "2", "--seed", "1", "--out", str(target))  # its own, so only the other rule holds
    (tmp_path / "link.png").symlink_to(target)
    for out in ("p.png", "link.png"):
        done = trained.cli("predict", str(target), "--out", str(tmp_path / out))
        assert done.returncode == 2 and f"{out}: is a picture to classify" in done.stderr


def test_a_picture_needs_no_source(trained, tmp_path):
    """The look of the test images and the names of classes are in the run's record."""
    photo(trained, tmp_path / "p.png")
    arguments = (str(tmp_path / "p.png"), "--out", str(tmp_path / "picture.png"))
    expected = predict(trained, *arguments)
    alone = Project(tmp_path / "alone")
    shutil.copytree(trained.path / "models", alone.path / "a run")
    shutil.copy2(trained.path / "params.yaml", alone.path)
    shutil.copytree(trained.path / "conf", alone.path / "conf")
    alone.edit("a run/config.yaml", "source: digits", "source: gone.npz")
    assert predict(alone, *arguments, "--model", "a run") == expected
    assert not (alone.path / "data").exists()
    needs_source = alone.cli("predict", "--random", "2", "--model", "a run")
    assert needs_source.returncode == 2 and "gone.npz" in needs_source.stderr


def test_a_run_whose_record_says_nothing_of_the_look_takes_it_from_the_source(trained, tmp_path):
    photo(trained, tmp_path / "p.png")
    arguments = (str(tmp_path / "p.png"), "--out", str(tmp_path / "picture.png"), "--model")
    earlier = RunDirectory(shutil.copytree(trained.path / "models", tmp_path / "earlier"))
    record = earlier.read_record()
    meta = {key: value for key, value in record.mlflow["dataset"]["meta"].items() if key != "image_style"}
    dataset = record.mlflow["dataset"] | {"meta": meta}
    earlier.write_record(replace(record, mlflow=record.mlflow | {"dataset": dataset}))
    assert predict(trained, *arguments, str(earlier.path)) == predict(trained, *arguments, "models")


def test_on_a_narrow_terminal_no_word_is_broken(trained, tmp_path, monkeypatch):
    name = "a-rather-long-name-of-a-picture-of-a-digit.png"
    photo(trained, tmp_path / name)
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes stdout for a terminal
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "40")
    printed = predict(trained, str(tmp_path / name), "--out", str(tmp_path / "picture.png"))
    assert name in printed and "second guess" in printed and "│" not in printed
