"""An own network through the whole project: `dvc repro`, a sweep, predict, export, promote, reproduce; and killed."""

import shutil
import signal
import subprocess

import mlflow
import numpy as np
import pytest
from conftest import clean_environment, wait_for
from omegaconf import OmegaConf

from epochwise.common.files import read_json

NETWORK = "networks/residual.py:build"
GIVEN = [f"model.network={NETWORK}", "model.parameters.width=4", "model.parameters.blocks=1"]
AUGMENTED = ["train.augment.shift=0.1", "train.augment.rotation=15"]


def records(project, pattern: str) -> list[dict]:
    return [read_json(path) for path in sorted(project.path.glob(pattern))]


@pytest.mark.long
def test_an_edit_of_params_yaml_takes_it_through_pipeline_and_commands(project):
    project.edit("params.yaml", "network: writeup ", f"network: {NETWORK} ")
    project.edit("params.yaml", "parameters: {} ", "parameters: {width: 4, blocks: 1} ")
    project.edit("params.yaml", "shift: 0.0", "shift: 0.1")
    project.ok("epochwise", "check")
    printed = project.ok("dvc", "repro")
    assert [line for line in printed.splitlines() if line.startswith("Running")] == [
        f"Running stage '{stage}':" for stage in ("prepare", "train", "evaluate")
    ]
    assert "up to date" in project.ok("dvc", "repro")
    record = read_json(project.path / "models/run.json")
    assert record["identity"]["network"].keys() == {"networks/residual.py"}

    project.edit("networks/residual.py", "blocks=2", "blocks=3")  # a default that is not used
    assert "Running stage 'train':" in project.ok("dvc", "repro")
    edited = read_json(project.path / "models/run.json")
    assert edited["epochs_trained"] == 2 and edited["weights_sha256"] == record["weights_sha256"]
    assert edited["trajectory"] != record["trajectory"]

    assert "predictions.png" in project.ok("epochwise", "predict", "--random", "5")
    project.ok("epochwise", "export")
    project.ok("epochwise", "promote", edited["run_id"])
    printed = project.ok("epochwise", "reproduce", edited["run_id"])
    assert "applies the run's uncommitted changes: networks/residual.py, params.yaml" in printed
    assert f"same: 2 epochs and weights {edited['weights_sha256']}, to the bit" in printed
    served_as_pixels(project)
    project.ok("dvc", "exp", "run", "-S", "model.parameters.width=5", "--temp")


def served_as_pixels(project) -> None:
    """The champion's registered model, which takes pixels 0…255, gives what the run's model gives."""
    from epochwise.config.compose import load
    from epochwise.pipeline.datasets import prepared_for
    from epochwise.training.model_file import load_model

    mlflow.set_tracking_uri(f"sqlite:///{project.path / 'mlflow.db'}")
    served = mlflow.pyfunc.load_model("models:/epochwise-digits@champion")
    images, _ = prepared_for(load([])).arrays("test")
    expected = load_model(project.path / "models/model.keras").predict(images[:20], verbose=0)
    np.testing.assert_allclose(served.predict(images[:20] * 255), expected, atol=1e-5)


@pytest.mark.slow
def test_a_sweep_over_it_shares_epochs_and_is_told_apart_in_every_table(project):
    grid = ["train.epochs=1,2", "model.parameters.width=3,4", "model.parameters.blocks=1", "train.augment.shift=0.1"]
    printed = project.ok("epochwise", "run", "-m", f"model.network={NETWORK}", *grid)
    found = records(project, "multirun/*/*/*/run.json")
    assert len(found) == 4 and sum(record["epochs_trained"] for record in found) == 4
    assert len({record["weights_sha256"] for record in found}) == 4
    table = project.ok("epochwise", "compare", "--format", "csv").splitlines()
    assert "model.parameters.width" in table[0].split(",") or "width" in table[0].split(",")
    assert "width=3" in printed or "width" in printed
    (sweep,) = project.path.glob("multirun/*/*/sweep.json")
    page = (sweep.parent / "report.html").read_text()
    assert "model.parameters.width" in page
    params = mlflow.MlflowClient(f"sqlite:///{project.path / 'mlflow.db'}").get_run(found[0]["run_id"]).data.params
    assert (params["model.network"], params["model.parameters.blocks"]) == (NETWORK, "1")


@pytest.mark.long
def test_a_network_that_git_does_not_have_comes_back_from_mlflow(project):
    """Its file is gone, and so is the run directory."""
    shutil.copy(project.path / "networks/residual.py", project.path / "networks/mine.py")
    given = [override.replace("residual", "mine") for override in GIVEN]
    project.ok("epochwise", "run", *given, *AUGMENTED)
    (record,) = records(project, "outputs/*/*/run.json")
    (project.path / "networks/mine.py").unlink()
    shutil.rmtree(project.path / "outputs")
    assert "picture" in project.ok("epochwise", "predict", "--random", "3", "--model", record["run_id"])
    printed = project.ok("epochwise", "reproduce", record["run_id"])
    assert "applies the run's uncommitted changes: networks/mine.py" in printed
    assert f"same: 2 epochs and weights {record['weights_sha256']}" in printed


@pytest.mark.slow
def test_killed_and_started_again_it_is_the_unbroken_run_to_the_bit(project):
    """In other processes: batch normalization, dropout, momentum and augmentation go on where they were."""
    given = [*GIVEN, *AUGMENTED, "train.optimizer=sgd", "train.momentum=0.9", "train.epochs=12", "tracking=off"]
    command = ["epochwise", "run", *given, "hydra.run.dir=outputs/killed"]
    first = subprocess.Popen(command, env=clean_environment(), cwd=project.path, stdout=subprocess.DEVNULL)
    wait_for(lambda: len(list(project.path.glob("trajectories/*/[0-9]*.npz"))) >= 3, "three states")
    first.send_signal(signal.SIGKILL)
    first.wait()
    project.ok(*command)
    project.ok("epochwise", "run", *given, "train.reuse=false", "hydra.run.dir=outputs/unbroken")
    killed, unbroken = (project.path / "outputs" / name for name in ("killed", "unbroken"))
    assert read_json(killed / "run.json")["epochs_reused"] >= 3
    for name in ("model.keras", "history.csv", "metrics.json"):
        assert (killed / name).read_bytes() == (unbroken / name).read_bytes(), name


def test_a_bad_network_is_refused_before_anything_is_written(project):
    (project.path / "networks/own.py").write_text("def build(image_shape, classes):\n    return 1 / 0\n")
    done = project.cli("run", "model.network=networks/own.py:build", "tracking=off", "hydra.run.dir=outputs/bad")
    assert (done.returncode, done.stderr) == (2, "error: networks/own.py:2: ZeroDivisionError: division by zero\n")
    assert not list(project.path.glob("outputs/bad/run.json"))


@pytest.mark.slow
def test_a_sweep_names_every_point_whose_network_cannot_be_built(project):
    text = "def build(image_shape, classes, width):\n    raise ValueError(width)\n"
    (project.path / "networks/own.py").write_text(text)
    own = "model.network=networks/own.py:build"
    done = project.cli("run", "-m", own, "model.parameters.width=1,2", "train.epochs=1,2")
    assert done.returncode == 2
    assert [line.rpartition(": ")[2] for line in done.stderr.splitlines()] == ["1", "1", "2", "2"]
    done = project.cli("run", "-m", own, "model.parameters.depth=1,2")
    assert done.stderr.count("own.py:build has no argument depth") == 2
    assert not (project.path / "multirun").exists()


def test_promoting_writes_the_own_networks_parameters_in_place_of_anothers(project):
    from epochwise.commands.promote import _write_params
    from epochwise.config.compose import load
    from epochwise.config.schema import parameters

    wanted = parameters(load(GIVEN))
    project.edit("params.yaml", "parameters: {} ", "parameters: {old: 3, width: 9} ")
    _write_params(wanted, "data", write_data=False)
    model = OmegaConf.load(project.path / "params.yaml").model
    assert (model.network, model.parameters) == (NETWORK, {"width": 4, "blocks": 1})
