"""Exit codes and the one line of a refusal, as a shell sees them."""

import os
import subprocess

import pytest
from conftest import clean_environment


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["check", "train.epochs=0"], "error: train.epochs must be in 1…2147483647, got 0 (command line)"),
        (["train", "train.epoch=1"], "error: command line: unknown key train.epoch; did you mean train.epochs?"),
        (["train"], "no prepared data here; run `dvc repro prepare` first"),
        (["evaluate"], "no prepared data here; run `dvc repro prepare` first"),
        (
            ["predict", "--random", "3"],
            "models/model.keras: not there; train first, with `dvc repro`, or with `epochwise run`",
        ),
        (["predict", "--random", "0"], "--random must be 1 or more, got 0"),
        (["predict", "--random", "3", "--seed", "-1"], "--seed must be 0 or more, got -1"),
        (["predict", "--random", "3", "--out", "x.xyz"], "--out must be a .png in a folder that exists"),
        (["check", "prepare.source=broken.npz"], "broken.npz is not a readable .npz of plain arrays"),
        (["prepare", "prepare.source=broken.npz"], "broken.npz is not a readable .npz of plain arrays"),
        (["run", "--config-name", "other"], "use experiment=NAME for a preset"),
        (["run", "-m", "--cfg", "job", "train.epochs=1"], "--cfg shows one configuration; leave out -m"),
        (["check", "train.epochs=2,3"], "train.epochs=2,3 is a sweep; use `epochwise run -m`"),
        (["predict"], "give pictures, or --random N for test images"),
        (["predict", "--random", "3", "--model", "nope"], "nope: no run with a model here or in MLflow"),
        (["run", "model.dense_dropout=1"], "error: model.dense_dropout must be in [0, 1), got 1.0 (command line)"),
        (["run", "--bogus"], "unrecognized arguments: --bogus"),
        (["train", "--bogus"], "No such option"),
        (["bogus"], "no command bogus; `epochwise --help` lists them"),
        (["promot"], "no command promot; did you mean promote?"),
        (["run", "-m"], "-m needs a grid: a key with several values, such as train.epochs=2,4"),
        (["run", "--epochs", "3"], "unrecognized arguments: --epochs; a parameter is typed key=value"),
        (["ui"], "no runs to show yet: `epochwise run` or `make repro` makes one"),
    ],
)
def test_refusal_is_one_line_and_exit_2_and_leaves_nothing(project, command, says):
    (project.path / "broken.npz").write_bytes(b"PK and no more")
    done = project.cli(*command)
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: ")
    assert not list(project.path.glob("outputs/*")) + list(project.path.glob("models/*"))


def test_every_bad_point_of_a_grid_is_listed_before_the_first_job(project):
    done = project.cli("run", "-m", "train.epochs=0,1", "model.dense_dropout=0.5,1.5")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 3
    assert "train.epochs=1 model.dense_dropout=1.5: model.dense_dropout must be in [0, 1)" in done.stderr
    assert not (project.path / "multirun").exists()


def test_outside_a_project(tmp_path, project):
    project.path = tmp_path
    done = project.run("epochwise", "check")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "no project here" in done.stderr
    assert project.ok("epochwise", "--version").startswith("epochwise ")
    assert "COMMAND" in project.ok("epochwise", "--help")
    assert project.ok("epochwise", "train", "--help").startswith("Usage: epochwise train ")


@pytest.mark.parametrize("command", [["--help"], ["run", "--help"], ["check"]])
def test_a_reader_that_has_gone_is_no_error(project, command):
    """As in `epochwise … | head`."""
    reading, writing = os.pipe()
    os.close(reading)
    command = ["epochwise", *command]
    done = subprocess.run(command, cwd=project.path, env=clean_environment(), stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


def test_without_a_command_help_is_printed(project):
    assert project.cli().stdout == project.cli("--help").stdout
    assert "promote" in project.cli().stdout


def test_below_the_root_is_as_at_the_root(project):
    root, project.path = project.path, project.path / "conf"
    assert project.ok("epochwise", "check") == "configuration, data and dvc.yaml agree\n"
    project.ok("epochwise", "prepare")
    assert (root / "data/prepared/data.npz").is_file()
    assert not (project.path / "data").exists()


def test_a_copy_of_the_project_runs_its_own_code(project):
    project.edit("src/epochwise/cli.py", "configuration, data and dvc.yaml agree", "this is the copy")
    assert project.ok("epochwise", "check") == "this is the copy\n"


def test_in_a_folder_that_was_removed_help_works_and_commands_are_refused(tmp_path):
    """A shell whose folder another process has removed."""
    script = "mkdir gone && cd gone && rmdir ../gone && epochwise --help >/dev/null && epochwise check"
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, env=clean_environment(), capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("error: the working directory is not there any more")
