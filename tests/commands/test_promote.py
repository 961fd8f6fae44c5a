"""`epochwise promote`: which run is taken, one champion for each data set, and what it writes into params.yaml."""

import shutil
from dataclasses import replace

import mlflow
import numpy as np
import pytest
from conftest import Project
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED
from mlflow_runs import client, provide_database, untracked_run
from omegaconf import OmegaConf

from epochwise.config.schema import parameters
from epochwise.pipeline.datasets import prepared_for
from epochwise.runs.directory import RunDirectory
from epochwise.sweeps.record import Point, SweepRecord
from epochwise.tracking.registry import model_name
from epochwise.training.history import read_history, write_history
from epochwise.training.model_file import load_model


@pytest.fixture
def registry(project, tensors) -> mlflow.MlflowClient:
    return provide_database(project)


def made_run(project: Project, name: str, val_accuracy: float, **changes: object) -> RunDirectory:
    """A finished run with this val_accuracy; in the keys of `changes` `__` stands for the dot."""
    run = untracked_run(project, name)
    cfg = run.read_config()
    for key, value in changes.items():
        OmegaConf.update(cfg, key.replace("__", "."), value)
    run.write_config(cfg)
    history = read_history(run.history)
    history[-1]["val_accuracy"] = val_accuracy
    write_history(history, run.history)
    data = f"data of {cfg.prepare.source} {cfg.prepare.split_seed}"
    own = {"run_id": name, "token": name, "name": name, "fingerprint": name, "data_sha256": data}
    run.write_record(replace(run.read_record(), **own))
    return run


def made_sweep(project: Project, seeds: dict[int, float]) -> SweepRecord:
    """A sweep over seeds with these val_accuracies."""
    folder = project.path / "multirun/day/time"
    points = []
    for job, (seed, val_accuracy) in enumerate(seeds.items()):
        run = made_run(project, f"seed{seed}", val_accuracy, seed=seed)
        record, values = run.read_record(), parameters(run.read_config())
        points.append(Point(job, f"seed={seed}", [], values, record.fingerprint, record.data_sha256))
        metrics = run.read_metrics() | {"val_accuracy": val_accuracy}
        shutil.move(run.path, folder / str(job))
        (folder / str(job) / "metrics.json").write_text(str(metrics).replace("'", '"'))
    sweep = SweepRecord(folder, "day_time", "epochwise run -m", "epochwise", ["seed"], points, False, True)
    sweep.write()
    return sweep


def promote(project: Project, *arguments: str) -> str:
    done = project.cli("promote", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def champion(registry: mlflow.MlflowClient, name: str) -> str:
    """The name of the champion's run."""
    version = registry.get_model_version_by_alias(name, "champion")
    return registry.get_run(version.run_id).info.run_name


@pytest.mark.parametrize(
    ("seeds", "chosen"),
    [({0: 0.91, 1: 0.99, 2: 0.95}, "seed2"), ({0: 0.91, 1: 0.99}, "seed1"), ({4: 0.9}, "seed4")],
)
def test_of_several_seeds_the_median_is_taken(project, registry, seeds, chosen):
    made_sweep(project, seeds)
    printed = promote(project)
    assert champion(registry, "epochwise-digits") == chosen
    assert (f"of its {len(seeds)} seeds the one with the median val_accuracy" in printed) == (len(seeds) > 1)


def test_that_a_search_is_not_finished_is_said(project, registry):
    sweep = made_sweep(project, {0: 0.91})
    search = {"proposals": "grid", "rungs": [2, 4], "eta": 3, "keep_ties": True, "candidates": ""}
    said = "note: the search is not finished, so a better setting may follow"
    replace(sweep, search=search).write()
    assert said in promote(project)
    replace(sweep, search=search, search_ended=True).write()
    assert said not in promote(project)


def test_each_data_set_has_a_champion_of_its_own(project, registry):
    made_run(project, "first", 0.95)
    made_run(project, "clothes", 0.85, prepare__source="fashion_mnist")
    made_run(project, "better clothes", 0.86, prepare__source="fashion_mnist")
    for name in ("first", "clothes", "better clothes"):
        promote(project, name)
    assert champion(registry, "epochwise-digits") == "first"
    assert champion(registry, "epochwise-fashion_mnist") == "better clothes"
    version = registry.get_model_version_by_alias("epochwise-fashion_mnist", "champion")
    assert "val_accuracy 0.8600" in version.description and "fashion_mnist" in version.description
    assert version.tags["prepare.source"] == "fashion_mnist"


def test_paths_of_one_file_name_have_champions_of_their_own():
    sources = ["mnist", "data/mnist.npz", "my/mnist.npz", "sets/v1.0", "sets/v1.5", "数字.npz", "文字.npz"]
    names = [model_name("epochwise", source) for source in sources]
    assert names[0] == "epochwise-mnist" and len(set(names)) == len(sources)


def test_a_champion_of_other_data_is_named(project, registry):
    made_run(project, "first", 0.95)
    promote(project, "first")
    project.edit("params.yaml", "source: digits", "source: mnist ")
    refused = project.cli("predict", "--random", "1", "--model", "champion")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "no champion for prepare.source=mnist, the data of params.yaml" in refused.stderr
    assert "there is --model epochwise-digits" in refused.stderr
    refused = project.cli("predict", "--random", "1", "--model", "epochwise-nothing")
    assert "no champion of epochwise-nothing; there is --model epochwise-digits" in refused.stderr
    found = project.cli("predict", "--random", "1", "--model", "epochwise-digits")
    assert "outputs/a day/first" in found.stderr, "its run, whose data was made up"


def test_a_worse_run_and_one_of_another_split_need_force(project, registry):
    made_run(project, "good", 0.95)
    made_run(project, "worse", 0.94)
    made_run(project, "split", 0.99, prepare__split_seed=7)
    promote(project, "good")
    for name, reason in (("worse", "is better on validation"), ("split", "was made from other data")):
        refused = project.cli("promote", name)
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1) and reason in refused.stderr
    assert champion(registry, "epochwise-digits") == "good"
    promote(project, "worse", "--force")
    assert champion(registry, "epochwise-digits") == "worse"


def test_params_are_written_but_for_the_data_unless_asked(project, registry):
    made_run(project, "run", 0.95, prepare__validation_size=200, model__dense_units=64)
    before = (project.path / "params.yaml").read_text()
    printed = promote(project, "run", "--params")
    after = (project.path / "params.yaml").read_text()
    assert after == before.replace("dense_units: 128", "dense_units: 64")
    assert "prepare.validation_size=200, which is not written; --data writes it, too" in printed
    promote(project, "run", "--params", "--data")
    assert "validation_size: 200" in (project.path / "params.yaml").read_text()
    refused = project.cli("promote", "run", "--data")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)


def test_a_run_that_only_the_server_has_is_fetched(project, registry):
    run = made_run(project, "colleagues", 0.95)
    assert project.cli("publish", str(run.path)).returncode == 0
    run_id = run.read_record().run_id
    shutil.rmtree(run.path)
    printed = promote(project, run_id, "--params")
    assert f"{run_id} (val_accuracy 0.9500) is the champion of epochwise-digits" in printed
    assert champion(registry, "epochwise-digits") == "colleagues"
    assert not (project.path / "outputs").exists() or not list(project.path.glob("outputs/**/run.json"))


def test_a_server_that_forbids_what_does_not_exist_has_no_champion(project, registry, monkeypatch):
    """As MLflow's basic-auth answers an ordinary user who asks for a model that is not there."""
    made_run(project, "run", 0.95)

    def forbidden(*_: object) -> None:
        raise MlflowException("Permission denied", PERMISSION_DENIED)

    monkeypatch.setattr(mlflow.MlflowClient, "get_model_version_by_alias", forbidden)
    assert "is the champion of epochwise-digits: version 1" in promote(project, "run")
    monkeypatch.undo()
    assert champion(client(project.path), "epochwise-digits") == "run"


def test_what_is_registered_takes_raw_pixels(project, registry):
    run = made_run(project, "run", 0.95)
    promote(project, "run")
    with np.load(prepared_for(run.read_config()).archive) as data:
        images = data["x_test"][:20]
    mlflow.set_tracking_uri(f"sqlite:///{project.path}/mlflow.db")
    served = mlflow.pyfunc.load_model("models:/epochwise-digits@champion")
    expected = load_model(run.model).predict(images, verbose=0)
    np.testing.assert_allclose(served.predict(np.rint(images * 255).astype(np.float32)), expected, atol=1e-5)
    (model, other) = registry.search_logged_models([registry.get_experiment_by_name("epochwise").experiment_id])
    assert {model.name, other.name} == {"model", "served"}
    made_run(project, "other", 0.96)
    promote(project, "other")
    promote(project, "run", "--force")
    assert champion(registry, "epochwise-digits") == "run"
    assert project.cli("publish", str(run.path)).returncode == 0
    found = registry.search_logged_models([registry.get_experiment_by_name("epochwise").experiment_id])
    assert sorted(model.name for model in found) == ["model", "model", "served", "served"], "one of each for each run"
