"""An epoch of a run as a run of its own: taken from its state to the bit, never trained, refused in one line."""

import shutil
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest
from conftest import Project, copy_project
from mlflow_runs import provide_database

from epochwise.common.errors import InputError, RunError
from epochwise.config.compose import load
from epochwise.pipeline.directories import run_directories
from epochwise.pipeline.run_of_epoch import run_of_epoch
from epochwise.runs.directory import RunDirectory
from epochwise.training.history import best_epoch, read_history

pytestmark = pytest.mark.usefixtures("tensors", "plain_pictures")

EPOCHS = 12  # of the run on digits, whose best epoch is before its last one


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory: pytest.TempPathFactory, tensors: None) -> Project:
    made = copy_project(tmp_path_factory.mktemp("trained") / "a project")
    done = made.cli("run", f"train.epochs={EPOCHS}", "tracking=off")
    assert done.returncode == 0, done.stderr
    return made


@pytest.fixture
def project(trained_once: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with one finished run and all of its states."""
    for name in ("DVC_ROOT", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    made = Project(tmp_path / "a project")
    shutil.copytree(trained_once.path, made.path, symlinks=True)
    monkeypatch.chdir(made.path)
    return made


@pytest.fixture
def run(project: Project) -> RunDirectory:
    (found,) = run_directories(project.path)
    assert best_epoch(found.read_history())["epoch"] < EPOCHS, "these tests need a run whose best epoch is not its last"
    return found


def best_of(run: RunDirectory) -> int:
    return int(best_epoch(run.read_history())["epoch"])


def states(project: Project) -> set[str]:
    return {path.name for path in project.path.glob("trajectories/*/*.npz")}


def take(run: RunDirectory, epoch: int, *overrides: str) -> RunDirectory:
    return run_of_epoch(run, epoch, load(["tracking=off", *overrides]).tracking)


def others(project: Project, *known: RunDirectory) -> list[RunDirectory]:
    return [found for found in run_directories(project.path) if found not in known]


def refused(project: Project, *arguments: str) -> str:
    """The one line that refuses a command."""
    done = project.cli(*arguments)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    return done.stderr


def test_the_best_epoch_becomes_champion_as_a_run_of_its_own(project, run):
    registry: mlflow.MlflowClient = provide_database(project)
    before, best = states(project), best_of(run)
    done = project.cli("promote", run.read_record().run_id, "--best-epoch")
    assert done.returncode == 0, done.stderr
    assert f"epoch {best} of {EPOCHS} is the best of run" in done.stdout
    assert f"epochs 1…{best} of {best} reused from trajectories/" in done.stdout
    (own,) = others(project, run)
    record = own.read_complete()
    assert (record.epochs, record.epochs_trained, record.epochs_reused) == (best, 0, best)
    assert own.read_history() == run.read_history()[:best]
    assert own.read_config().train.epochs == best == own.read_metrics()["best_epoch"]
    version = registry.get_model_version_by_alias("epochwise-digits", "champion")
    assert version.run_id == record.run_id and registry.get_run(record.run_id).info.run_name == f"epochs={best}"
    assert float(version.tags["val_accuracy"]) == run.read_metrics()["best_val_accuracy"]
    assert states(project) == before
    again = project.cli("promote", run.read_record().run_id, "--best-epoch")
    assert f"already finished: epochs={best}" in again.stdout
    assert f"{record.run_id} is the champion of epochwise-digits already" in again.stdout
    assert others(project, run) == [own]


def test_it_is_the_run_of_so_many_epochs_to_the_bit(project, run):
    best = best_of(run)
    own = take(run, best)
    alone = project.path / "outputs/alone/run"
    done = project.cli("run", f"train.epochs={best}", "train.reuse=false", "tracking=off", f"hydra.run.dir={alone}")
    assert done.returncode == 0, done.stderr
    for name in ("model.keras", "history.csv", "metrics.json", "confusion_matrix.csv", "validation_predictions.csv"):
        assert (own.path / name).read_bytes() == (alone / name).read_bytes(), name
    assert own.read_record().fingerprint == RunDirectory(alone).read_record().fingerprint


def test_a_finished_run_of_so_many_epochs_is_used(project, run):
    done = project.cli("run", "train.epochs=3", "tracking=off")
    assert done.returncode == 0
    (three,) = others(project, run)
    assert take(run, 3) == three and take(run, EPOCHS) == run
    assert others(project, run) == [three]


def test_params_are_those_of_the_best_epoch(project, run):
    best = best_of(run)
    done = project.cli("promote", run.read_record().run_id, "--best-epoch", "--params")
    assert done.returncode == 0, done.stderr
    assert f"train.epochs 2 → {best}" in done.stdout and "no epochs to train for that" in done.stdout
    assert load([]).train.epochs == best


@pytest.mark.parametrize("fault", ["removed", "damaged", "kept by no run"])
def test_without_the_state_nothing_is_trained(project, run, fault):
    best = best_of(run)
    (state,) = project.path.glob(f"trajectories/*/{best:05}-*.npz")
    if fault == "removed":
        state.unlink()
    elif fault == "damaged":
        state.write_bytes(state.read_bytes()[:-1] + b"?")
    else:
        project.edit("conf/config.yaml", "max_gb: 10 ", "max_gb: 0  ")
    before = states(project) - {state.name}
    done = project.cli("promote", run.read_record().run_id, "--best-epoch")
    *warnings, line = done.stderr.splitlines()
    assert done.returncode == 2 and len(warnings) == (fault == "damaged")
    where = "trajectories.max_gb=0 keeps" if fault == "kept by no run" else "trajectories has"
    assert line == (
        f"error: {where} no state of epoch {best} of this training, so it would have to be trained; "
        f"`epochwise run train.epochs={best}` does that"
    )
    assert others(project, run) == [] and states(project) - {state.name} == before


def test_a_state_that_goes_at_the_last_moment_is_not_trained_either(project, run, monkeypatch):
    from epochwise.pipeline import run_of_epoch as module

    monkeypatch.setattr(module, "_check_state", lambda *_: shutil.rmtree(project.path / "trajectories"))
    with pytest.raises(RunError, match="the state of epoch 3 has just been removed, and nothing is trained here"):
        take(run, 3)
    (failed,) = others(project, run)
    assert failed.read_record().status == "FAILED" and states(project) == set()


def test_a_cooldown_belongs_to_the_run_but_not_what_comes_before_it(project, run):
    done = project.cli("run", "train.epochs=5", "train.cooldown_epochs=2", "tracking=off")
    assert done.returncode == 0
    (cooled,) = others(project, run)
    with pytest.raises(InputError) as line:
        take(cooled, 4)
    assert str(line.value) == (
        f"epoch 4 of run {cooled.read_record().run_id} lies in its cooldown (epochs 4…5), whose rates depend on "
        "train.epochs=5, so no run ends with it; take epoch 3 or an earlier one, or the run as it ended"
    )
    assert others(project, run, cooled) == []
    trunk = take(cooled, 3)
    assert trunk.read_history() == cooled.read_history()[:3] == run.read_history()[:3]
    assert (trunk.read_config().train.epochs, trunk.read_config().train.cooldown_epochs) == (3, 0)
    assert trunk.read_record().epochs_trained == 0


def test_a_run_that_was_trained_otherwise_has_no_epoch_here(project, run):
    record = run.read_record()
    code = record.identity["code"] | {"training/loop.py": "another"}
    run.write_record(replace(record, identity=record.identity | {"code": code}))
    line = refused(project, "promote", record.run_id, "--best-epoch")
    assert f"run {record.run_id} was trained under other conditions than here (training code), so no run here" in line
    assert f"check out its commit {record.git_commit}, or train one with `epochwise run train.epochs=" in line
    run.write_record(replace(record, identity={}))
    assert "was trained in a way that is not known" in refused(project, "promote", record.run_id, "--best-epoch")
    run.write_record(replace(record, data_sha256="other"))
    assert "was trained on other data than digits gives now" in refused(
        project, "promote", record.run_id, "--best-epoch"
    )
    assert others(project, run) == []


def test_evaluate_of_an_epoch_leaves_the_pipelines_files_as_they_are(project, run):
    for command in (("prepare",), ("train", "train.epochs=5", "tracking=off")):
        assert project.cli(*command).returncode == 0
    assert project.cli("evaluate", "train.epochs=5", "tracking=off").returncode == 0
    pipeline = {path: path.read_bytes() for name in ("models", "reports") for path in (project.path / name).iterdir()}
    done = project.cli("evaluate", "--epoch", "3", "train.epochs=5", "tracking=off")
    assert done.returncode == 0, done.stderr
    (own,) = others(project, run)
    assert f"models and reports stay as they are: epoch 3 is in {own.path.relative_to(project.path)}" in done.stdout
    assert own.read_history() == read_history(project.path / "models/history.csv")[:3]
    assert (own.read_record().epochs_trained, own.read_record().status) == (0, "FINISHED")
    assert {path: path.read_bytes() for path in pipeline} == pipeline
    assert "has no epoch 6; it consists of the epochs 1…5" in refused(
        project, "evaluate", "--epoch", "6", "train.epochs=5", "tracking=off"
    )
    assert "was trained with train.epochs=5, not with what is asked for" in refused(
        project, "evaluate", "--epoch", "3", "tracking=off"
    )
    assert "0 is not in the range" in refused(project, "evaluate", "--epoch", "0")
    last = project.cli("evaluate", "--epoch", "5", "train.epochs=5", "tracking=off")
    assert last.returncode == 0 and others(project, run) == [own]
    assert (project.path / "reports/metrics.json").read_bytes() == pipeline[project.path / "reports/metrics.json"]


def test_without_a_pipelines_run_there_is_no_epoch(project):
    assert "train first" in refused(project, "evaluate", "--epoch", "1", "tracking=off")


def test_the_validation_set_that_is_the_test_set_is_named(project, run):
    provide_database(project)
    assert project.cli("run", "train.epochs=2", "prepare.validation_size=0", "tracking=off").returncode == 0
    (doubled,) = others(project, run)
    done = project.cli("promote", doubled.read_record().run_id, "--best-epoch", "--force")
    assert done.returncode == 0, done.stderr
    assert "note: the test set was this run's validation set" in done.stdout


def test_parameters_of_another_network_in_params_yaml_do_not_matter(project, run):
    project.edit("params.yaml", "parameters: {}", "parameters: {width: 3}")
    own = take(run, 3)
    assert own.read_record().epochs_trained == 0 and own.read_history() == run.read_history()[:3]
