"""What MLflow shows of a run beside its results: few parameters, where the run came from, and its data."""

import hashlib

import pytest

from epochwise.config.compose import load
from epochwise.pipeline.datasets import prepared_for
from epochwise.runs.lineage import Lineage
from epochwise.tracking.description import ALWAYS_SHOWN, describe_run

LINEAGE = Lineage("0" * 40, git_dirty=True, git_diff=b"", overrides=("+model.pool_size=3", "seed=1"), reproduce="run")

pytestmark = pytest.mark.usefixtures("plain_pictures")


@pytest.fixture
def environment(monkeypatch) -> None:
    monkeypatch.setenv("DVC_STAGE", "train")
    monkeypatch.setenv("DVC_EXP_NAME", "warm-bolt")
    monkeypatch.setenv("DVC_EXP_BASELINE_REV", "1" * 40)
    monkeypatch.setenv("LOGNAME", "somebody")


def test_parameters_are_those_always_shown_and_those_that_the_run_varies(project):
    cfg = load(["model.pool_size=3", "seed=1"])
    described = describe_run(cfg, LINEAGE, prepared_for(cfg), "")
    assert described["params"].keys() == {*ALWAYS_SHOWN, "model.pool_size"}
    assert described["params"]["seed"] == 1


def test_tags_say_where_the_run_came_from(project, environment):
    cfg = load(["seed=1"])
    data = prepared_for(cfg)
    tags = describe_run(cfg, LINEAGE, data, "2026-01-01_10-00-00")["tags"]
    expected = {
        "git.commit": "0" * 40,
        "git.dirty": "true",
        "mlflow.source.git.commit": "0" * 40,
        "dvc.stage": "train",
        "dvc.experiment": "warm-bolt",
        "dvc.baseline": "1" * 40,
        "sweep.id": "2026-01-01_10-00-00",
        "overrides": "+model.pool_size=3 seed=1",
        "reproduce": "run",
        "mlflow.user": "somebody",
        "mlflow.source.name": "epochwise",
        "mlflow.source.type": "LOCAL",
        "data.sha256": data.sha256,
        "validation": "split off the training set",
    }
    note = tags.pop("mlflow.note.content")
    assert "images of digits: `+model.pool_size=3` `seed=1`." in note and "```\nrun\n```" in note
    versions = {f"version.{name}" for name in ("python", "tensorflow", "keras", "numpy")}
    assert expected.items() <= tags.items()
    assert tags.keys() == expected.keys() | versions | {"cpu"}
    assert all(tags.values())


def test_tags_without_a_value_are_left_out(project, monkeypatch):
    for name in ("DVC_STAGE", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV"):
        monkeypatch.delenv(name, raising=False)
    cfg = load(["prepare.validation_size=0"])
    lineage = Lineage(None, git_dirty=False, git_diff=b"", overrides=(), reproduce="run")
    tags = describe_run(cfg, lineage, prepared_for(cfg), "")["tags"]
    without_value = {"git.commit", "mlflow.source.git.commit", "dvc.stage", "sweep.id", "overrides"}
    assert not without_value & tags.keys()
    assert tags["validation"] == "test set"


def test_a_user_without_a_name_is_a_number(project, monkeypatch):
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr("getpass.getuser", nameless)
    cfg = load([])
    assert describe_run(cfg, LINEAGE, prepared_for(cfg), "")["tags"]["mlflow.user"].isdigit()


def test_the_data_set_has_dvcs_md5_and_all_of_meta_json(project):
    cfg = load([])
    data = prepared_for(cfg)
    dataset = describe_run(cfg, LINEAGE, data, "")["dataset"]
    assert (dataset["name"], dataset["sha256"]) == ("digits", data.sha256)
    assert dataset["md5"] == hashlib.md5(data.archive.read_bytes()).hexdigest()
    assert list(dataset["meta"]) == [
        *("prepare", "source", "image_shape", "classes"),
        *("train_images", "validation_images", "test_images", "sha256", "class_names", "conversions", "notes"),
        "image_style",
    ]
    assert dataset["meta"]["prepare"]["source"] == "digits"
