"""`dvc repro` as a user sees it: what runs, what is written, what it was made from."""

import json
import re
import shutil
import subprocess
from importlib.metadata import version

import mlflow
import pytest
from conftest import clean_environment, wait_for
from omegaconf import OmegaConf

from epochwise.common.files import file_digest, read_json
from epochwise.training.history import read_history


@pytest.fixture(scope="module")
def run(reproduced):
    """The pipeline's run as MLflow has it."""
    client = mlflow.MlflowClient(f"sqlite:///{reproduced.path / 'mlflow.db'}")
    return client.get_run(read_json(reproduced.path / "models/run.json")["run_id"])


def outs(project) -> dict[str, str]:
    """The md5 of every output that dvc.lock names."""
    stages = OmegaConf.to_container(OmegaConf.load(project.path / "dvc.lock"))["stages"]
    return {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}


def test_three_stages_run_and_say_accuracy_and_where_the_run_is(reproduced, run):
    running = [line for line in reproduced.printed.splitlines() if line.startswith("Running stage")]
    assert running == [f"Running stage '{stage}':" for stage in ("prepare", "train", "evaluate")]
    assert f"test_accuracy {run.data.metrics['test_accuracy']:.4f}" in reproduced.printed
    assert (
        f"/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}?workflowType=machine_learning"
        in reproduced.printed
    )
    epochs = [line for line in reproduced.printed.splitlines() if line.startswith("epoch ")]
    assert len(epochs) == 2


def test_again_nothing_runs(reproduced):
    assert reproduced.ok("dvc", "repro").endswith("Data and pipelines are up to date.\n")


def test_outputs_are_those_of_the_contract(reproduced):
    assert set(outs(reproduced)) == {
        "data/prepared/data.npz",
        "data/prepared/meta.json",
        "models/config.yaml",
        "models/history.csv",
        "models/model.keras",
        "reports/metrics.json",
        "reports/class_metrics.csv",
        "reports/confusion_matrix.csv",
        "reports/confusion_matrix.png",
        "reports/learning_curves.png",
        "reports/mistakes.json",
        "reports/mistakes.png",
        "reports/random_digit.png",
        "reports/validation_predictions.csv",
    }
    record = read_json(reproduced.path / "models/run.json")
    assert list(record) == [
        "run_id",
        "token",
        "name",
        "experiment",
        "fingerprint",
        "trajectory",
        "weights_sha256",
        "model_sha256",
        "data_sha256",
        "epochs",
        "end_rule",
        "epochs_trained",
        "epochs_reused",
        "steps_trained",
        "train_seconds",
        "trajectory_seconds",
        "status",
        "failure",
        "started",
        "ended",
        "git_commit",
        "git_dirty",
        "git_problem",
        "git_diff",
        "published",
        "identity",
        "mlflow",
    ]


def test_metrics_are_those_of_history_and_of_the_confusion_matrix(reproduced):
    metrics = read_json(reproduced.path / "reports/metrics.json")
    history = read_history(reproduced.path / "models/history.csv")
    assert [metrics[key] for key in ("loss", "accuracy", "val_loss", "val_accuracy")] == list(history[-1].values())[1:]
    assert metrics["best_val_accuracy"] == max(row["val_accuracy"] for row in history)
    assert history[metrics["best_epoch"] - 1]["val_accuracy"] == metrics["best_val_accuracy"]
    pairs = (reproduced.path / "reports/confusion_matrix.csv").read_text().split()
    assert pairs[0] == "actual,predicted"
    right = sum(len(set(pair.split(","))) == 1 for pair in pairs[1:])
    assert (len(pairs) - 1, right / 297) == (297, pytest.approx(metrics["test_accuracy"]))


def test_lineage_is_that_of_git_and_dvc_lock(reproduced, run):
    tags, commit = run.data.tags, reproduced.ok("git", "rev-parse", "HEAD").strip()
    record = read_json(reproduced.path / "models/run.json")
    assert tags["git.commit"] == tags["mlflow.source.git.commit"] == record["git_commit"] == commit
    assert (tags["git.dirty"], record["git_dirty"]) == ("false", False)
    assert tags["dvc.stage"] == "train"
    data = run.inputs.dataset_inputs[0]
    assert data.dataset.digest == outs(reproduced)["data/prepared/data.npz"]
    assert {tag.key: tag.value for tag in data.tags}["sha256"] == file_digest(
        reproduced.path / "data/prepared/data.npz"
    )
    assert tags["version.tensorflow"] == version("tensorflow")
    assert f"git checkout {commit} && epochwise run seed=0 prepare.source=digits" in tags["reproduce"]


def test_pipeline_leads_to_the_run_and_the_run_to_the_weights(reproduced, run, tensors):
    from epochwise.training.model_file import load_model, weights_sha256

    record = read_json(reproduced.path / "models/run.json")
    assert run.info.run_name == "baseline"
    assert run.info.status == record["status"] == "FINISHED"
    assert record["weights_sha256"] == run.data.tags["weights_sha256"]
    assert record["weights_sha256"] == weights_sha256(load_model(reproduced.path / "models/model.keras"))


@pytest.mark.parametrize(
    ("name", "old", "new", "changed"),
    [
        ("params.yaml", "epochs: 2", "epochs: 3", {"train"}),
        ("params.yaml", "dense_dropout: 0.5", "dense_dropout: 0.4", {"train"}),
        ("params.yaml", "validation_size: 300", "validation_size: 200", {"prepare"}),
        ("params.yaml", "`epochwise run`.\nseed: 0", "`epochwise run`.\nseed: 1", {"train", "evaluate"}),
        ("conf/config.yaml", "chdir: false", "chdir: true", set()),
        ("conf/tracking/mlflow.yaml", "experiment: epochwise", "experiment: other", set()),
        ("src/epochwise/tracking/redacted_errors.py", "warning: MLflow", "note: MLflow", set()),
        ("src/epochwise/training/network.py", "relu", "gelu", {"train", "evaluate"}),
    ],
)
def test_a_change_reaches_the_first_stage_that_it_concerns(reproduced, name, old, new, changed):
    """Later stages follow from the outputs of the first; the slow test of a real run shows that they do."""
    before = (reproduced.path / name).read_text()
    reproduced.edit(name, old, new)
    try:
        assert set(json.loads(reproduced.ok("dvc", "status", "--json"))) == changed
    finally:
        (reproduced.path / name).write_text(before)


def test_metrics_and_plots_are_dvcs(reproduced):
    shown = json.loads(reproduced.ok("dvc", "metrics", "show", "--json"))
    assert shown[""]["data"]["reports/metrics.json"]["data"] == read_json(reproduced.path / "reports/metrics.json")
    reproduced.ok("dvc", "plots", "show")
    page = (reproduced.path / "dvc_plots/index.html").read_text()
    assert '<script type="text/javascript" src=' not in page  # as DVC's own page loads Vega from the network
    assert "/*! vega-embed " in page
    for shown in ("accuracy", "loss", "confusion matrix of the test set", "reports/mistakes.png"):
        assert shown in page


def test_git_is_clean_but_for_what_the_pipeline_writes(reproduced):
    changed = {line[3:] for line in reproduced.ok("git", "status", "--porcelain").splitlines()}
    assert changed == {"dvc.lock", "reports/"}


@pytest.mark.slow
@pytest.mark.parametrize("with_states", [pytest.param(True, marks=pytest.mark.long), False])
def test_forced_again_gives_the_same_bytes(reproduced, with_states):
    before = outs(reproduced)
    if not with_states:
        shutil.rmtree(reproduced.path / "trajectories")
    reproduced.ok("dvc", "repro", "--force")
    after = outs(reproduced)
    assert before == after
    assert read_json(reproduced.path / "models/run.json")["epochs_reused"] == (2 if with_states else 0)


@pytest.mark.slow
def test_killed_with_its_child_at_work_dvc_repro_waits_and_goes_on(project):
    """kill -9 of dvc alone: what it had started goes on training into the same folder."""
    project.edit("params.yaml", "epochs: 2", "epochs: 40")
    first = subprocess.Popen(["dvc", "repro"], env=clean_environment(), stdout=subprocess.DEVNULL)
    wait_for((project.path / "models/history.csv").exists, "a first epoch")
    first.kill()
    first.wait()
    printed = project.ok("dvc", "repro")
    assert re.search(r"models: .*process.* works here; waiting until it ends", printed)
    record = read_json(project.path / "models/run.json")
    assert (record["status"], record["epochs_trained"], record["epochs_reused"]) == ("FINISHED", 0, 40)
    assert "up to date" in project.ok("dvc", "status")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "value", "stages"),
    [
        ("train.epochs", "3", ["train", "evaluate"]),
        pytest.param("prepare.split_seed", "1", ["prepare", "train", "evaluate"], marks=pytest.mark.long),
    ],
)
def test_an_edited_parameter_runs_its_stages_and_those_after_it(project, key, value, stages):
    project.ok("dvc", "repro")
    word, now = key.split(".")[1], {"train.epochs": "2", "prepare.split_seed": "0"}[key]
    project.edit("params.yaml", f"{word}: {now}", f"{word}: {value}")
    printed = project.ok("dvc", "repro")
    assert [line for line in printed.splitlines() if "Running stage" in line] == [
        f"Running stage '{s}':" for s in stages
    ]
    client = mlflow.MlflowClient(f"sqlite:///{project.path / 'mlflow.db'}")
    run = client.get_run(read_json(project.path / "models/run.json")["run_id"])
    assert (run.info.run_name, run.data.tags["overrides"]) == (f"{word}={value}", f"{key}={value}")
    assert run.data.tags["git.dirty"] == "true"
    client.download_artifacts(run.info.run_id, "git.diff", str(project.path))
    project.ok("git", "checkout", "--quiet", "params.yaml")
    project.ok("git", "apply", "git.diff")
    assert f"{word}: {value}" in (project.path / "params.yaml").read_text()


@pytest.mark.slow
def test_the_recorded_command_makes_the_run_again(project, reproduced):
    """Pasted into another checkout, with another params.yaml."""
    record = read_json(reproduced.path / "models/run.json")
    client = mlflow.MlflowClient(f"sqlite:///{reproduced.path / 'mlflow.db'}")
    command = client.get_run(record["run_id"]).data.tags["reproduce"]
    project.ok("git", "clone", "--quiet", str(reproduced.path), "clone")
    project.path /= "clone"
    project.edit("params.yaml", "dense_units: 128", "dense_units: 7")
    project.ok("git", "commit", "--quiet", "--all", "--message", "other parameters")
    project.ok("bash", "-ec", command)
    (again,) = project.path.glob("outputs/*/*/run.json")
    assert read_json(again)["weights_sha256"] == record["weights_sha256"]
    assert read_json(again)["fingerprint"] == record["fingerprint"]
