"""Folders of the project as links to another disk: results are written there and found by their names here."""

import pytest
from conftest import Project
from mlflow_runs import run_directory, train

from epochwise.common.errors import InputError
from epochwise.common.files import read_json
from epochwise.config.compose import hydra_settings
from epochwise.pipeline.directories import LINKABLE, folder_inside, run_directories


@pytest.fixture
def linked(project, tmp_path) -> Project:
    """A project whose large folders are links to a scratch disk."""
    for name in LINKABLE:
        (tmp_path / "scratch" / name).mkdir(parents=True)
        (project.path / name).symlink_to(tmp_path / "scratch" / name)
    return project


def folder(kind: str, given: str):
    top = {"run": "outputs", "sweep": "multirun"}[kind]
    return folder_inside(top, hydra_settings([f"hydra.{kind}.dir={given}"]), kind)


def test_git_sees_no_link(linked):
    assert linked.ok("git", "status", "--porcelain") == ""


@pytest.mark.parametrize("kind, top", [("run", "outputs"), ("sweep", "multirun")])
def test_results_lie_behind_the_link_and_keep_their_names(linked, tmp_path, kind, top):
    assert folder(kind, f"{top}/a") == linked.path / top / "a"
    assert folder(kind, f"{tmp_path}/scratch/{top}/a") == linked.path / top / "a"
    assert folder(kind, f"{top}/b/../a") == linked.path / top / "a"
    assert folder(kind, f"{linked.path}/{top}/a") == linked.path / top / "a"
    for outside in (top, f"{top}/..", f"{top}/../a", f"{tmp_path}/scratch/a", "/", f"{top}x/a"):
        with pytest.raises(InputError, match=f"must lie in {top}/"):
            folder(kind, outside)


def test_a_folder_in_outputs_may_be_a_link(project, tmp_path):
    (tmp_path / "disk").mkdir()
    (project.path / "outputs").mkdir()
    (project.path / "outputs/day").symlink_to(tmp_path / "disk")
    assert folder("run", "outputs/day/a") == project.path / "outputs/day/a"
    train(run_directory(project), "train.epochs=1", "tracking=off")
    (project.path / "outputs/a day").rename(tmp_path / "disk/moved")
    assert [run.path for run in run_directories(project.path)] == [project.path / "outputs/day/moved/a run"]


@pytest.mark.parametrize("name", LINKABLE)
def test_a_link_to_nothing_is_refused_before_anything_is_done(project, tmp_path, name):
    (project.path / name).symlink_to(tmp_path / "unmounted")
    for command in (("check",), ("run", "train.epochs=1"), ("run", "-m", "seed=1,2"), ("prepare",)):
        done = project.cli(*command)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert f"{name}: links to {tmp_path}/unmounted, which is no folder" in done.stderr


def test_a_link_to_a_file_is_refused(project):
    (project.path / "outputs").symlink_to(project.path / "params.yaml")
    assert "params.yaml, which is no folder" in project.cli("run", "train.epochs=1").stderr


@pytest.mark.parametrize("name", ["data", "data/prepared", "models", "reports"])
def test_check_refuses_outputs_behind_a_link_which_dvc_would_refuse_after_a_stage_has_run(project, tmp_path, name):
    (tmp_path / "scratch").mkdir()
    (project.path / "data").mkdir(exist_ok=True)
    if name == "data":
        (project.path / "data").rmdir()
    (project.path / name).symlink_to(tmp_path / "scratch")
    done = project.cli("check")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"error: {name}: is a link, and DVC stores no outputs outside of the repository" in done.stderr


@pytest.mark.long
def test_runs_sweeps_and_the_pipeline_work_behind_links(linked, tmp_path):
    quick = ("train.epochs=1", "model.dense_units=8")
    linked.ok("epochwise", "run", *quick, "hydra.run.dir=outputs/run")
    printed = linked.ok("epochwise", "run", "-m", *quick, "seed=1,2")
    assert "files multirun/" in printed and "ranked by val_accuracy" in linked.ok("epochwise", "compare")
    linked.ok("epochwise", "predict", "--random", "2", "--model", "outputs/run")
    assert read_json(linked.path / "outputs/run/run.json")["git_dirty"] is False
    for name in set(LINKABLE) - {"models"}:
        assert (linked.path / name).is_symlink() and any((tmp_path / "scratch" / name).iterdir()), name
    for name in ("data", "models"):  # DVC's outputs; what is large in data/ is the cache
        (linked.path / name).unlink()
    (linked.path / "data").mkdir()
    (linked.path / "data/cache").symlink_to(tmp_path / "scratch/data/cache")
    linked.ok("epochwise", "check")
    linked.ok("dvc", "repro")
    changed = {line[3:] for line in linked.ok("git", "status", "--porcelain").splitlines()}
    assert changed == {"dvc.lock", "reports/"}
    assert read_json(linked.path / "models/run.json")["git_dirty"] is False
