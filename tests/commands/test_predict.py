"""Predictions of the pipeline's model for random test images and for pictures of the user."""

import shutil

import numpy as np
import pytest
from conftest import Project, copy_project
from PIL import Image

from epochwise.common.files import read_json
from epochwise.config.compose import load
from epochwise.pipeline.run import run_configuration


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
    assert "1 picture " in printed and ": inverted, for the model knows bright on dark" in printed
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
