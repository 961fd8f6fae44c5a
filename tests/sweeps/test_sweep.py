"""A sweep from its command to MLflow, the registry and back to the pipeline, on the bundled digits."""

import json
import shutil

import mlflow
import pytest
from conftest import Project

from epochwise.common.files import file_digest, read_json
from epochwise.sweeps.directory import finished_runs, known_sweeps
from epochwise.sweeps.record import SweepRecord

GRID = ("train.epochs=1,2", "model.dense_dropout=0.25,0.5")
POINTS = ["epochs=1 dense_dropout=0.25", "epochs=1 dense_dropout=0.5", "epochs=2 dense_dropout=0.25"]
POINTS += ["epochs=2 dense_dropout=0.5"]
NAMES = [*POINTS[:3], "baseline"]  # of the runs in MLflow: `dvc repro` has made the last one, as `baseline`
RESULTS = ("train.epochs", "model.dense_dropout", "n", "val_accuracy", "val_loss", "best_epoch", "test_accuracy")

WRITTEN = {"leaderboard.csv", "leaderboard.json", "leaderboard.md", "report.html", "curves.png", "heat_map.png"}


@pytest.fixture(scope="module")
def swept(reproduced, tmp_path_factory, tensors):
    """A project after `dvc repro` and a sweep. `promote`, in this process, loads a model."""
    path = tmp_path_factory.mktemp("swept") / "a project"
    shutil.copytree(reproduced.path, path, symlinks=True)
    made = Project(path)
    made.ok("git", "add", "--all")
    made.ok("git", "commit", "--quiet", "--message", "results")
    with pytest.MonkeyPatch.context() as environment:
        for name in ("DVC_ROOT", "MLFLOW_TRACKING_URI"):
            environment.delenv(name, raising=False)
        made.printed = output(made, "run", "-m", *GRID)
        yield made


def output(project, *arguments) -> str:
    """What an epochwise command prints that must succeed, in this process."""
    done = project.cli(*arguments)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def latest(project) -> SweepRecord:
    return known_sweeps(project.path)[0]


@pytest.fixture
def sweep(swept) -> SweepRecord:
    """The module's sweep, as it is now."""
    return next(sweep for sweep in known_sweeps(swept.path) if len(sweep.points) == len(POINTS))


def client(project):
    return mlflow.MlflowClient(f"sqlite:///{project.path}/mlflow.db")


def runs(project, experiment="epochwise"):
    found = client(project).get_experiment_by_name(experiment)
    return client(project).search_runs([found.experiment_id])


def results(project, *options):
    """The leaderboard without costs: a run that is finished already does not pay them again."""
    leaderboard = json.loads(output(project, "compare", "--format", "json", *options))
    return [{key: row[key] for key in RESULTS} for row in leaderboard["rows"]]


def records(sweep) -> list[dict]:
    return [read_json(sweep.run_directory(point).record) for point in sweep.points]


def test_each_point_is_a_run_directory_and_a_run_in_mlflow(swept, sweep):
    found = {run.info.run_name: run for run in runs(swept)}
    assert sorted(found) == sorted(NAMES)
    for point, name, record in zip(sweep.points, NAMES, records(sweep), strict=True):
        run = found[name]
        assert (record["run_id"], record["status"]) == (run.info.run_id, "FINISHED")
        assert run.data.tags["sweep.id"] == sweep.id
        assert {"best_val_accuracy", "best_epoch", "val_accuracy", "test_accuracy"} <= set(run.data.metrics)
        assert len(run.data.params) == 10, "few, so that what varies is seen"
        assert (sweep.folder / str(point.job) / "run.log").exists() == (name != "baseline")


def test_the_pipeline_is_left_as_it_was(swept):
    assert swept.ok("dvc", "status").strip() == "Data and pipelines are up to date."
    assert swept.ok("git", "status", "--porcelain") == ""


def test_epochs_are_shared_also_with_the_pipeline(sweep):
    trained = {name: record["epochs_trained"] for name, record in zip(NAMES, records(sweep), strict=True)}
    assert trained == dict(zip(NAMES, (0, 0, 2, 2), strict=True)), "`dvc repro` has trained with 0.5"


def test_the_leaderboard_is_printed_and_kept(swept, sweep):
    assert (swept.printed.count("done: "), swept.printed.count("already finished: ")) == (3, 1)
    assert f"sweep {sweep.id}" in swept.printed and "epochwise promote" in swept.printed
    kept = {path.name for path in sweep.folder.iterdir() if path.is_file() and path.name != ".lock"}
    assert {*WRITTEN, "sweep.json"} <= kept


def test_the_link_leads_to_the_sweeps_runs_and_columns(swept, sweep):
    assert sweep.link in swept.printed and f"viewStateShareKey={sweep.id}" in sweep.link
    experiment = client(swept).get_experiment_by_name("epochwise")
    state = json.loads(json.loads(experiment.tags[f"mlflow.sharedViewState.{sweep.id}"])["state"])
    found = client(swept).search_runs([experiment.experiment_id], state["searchFilter"], order_by=[state["orderByKey"]])
    assert {run.info.run_name for run in found} == set(NAMES)
    assert state["selectedColumns"][:3] == [
        "params.`train.epochs`",
        "params.`model.dense_dropout`",
        "metrics.`val_accuracy`",
    ]


def test_a_run_sums_the_sweep_up(swept):
    (summary,) = runs(swept, "epochwise-sweeps")
    assert (summary.info.status, summary.data.metrics["runs"]) == ("FINISHED", 4)
    artifacts = {item.path for item in client(swept).list_artifacts(summary.info.run_id)}
    assert artifacts == WRITTEN
    assert "| 1 |" in summary.data.tags["mlflow.note.content"]


def test_a_finished_sweep_again_runs_nothing(swept, sweep):
    before = {run.info.run_id for run in runs(swept) + runs(swept, "epochwise-sweeps")}
    leaderboard = results(swept, "--sweep", sweep.id)
    printed = output(swept, "run", "-m", *GRID)
    assert printed.count("already finished: ") == 4 and "done: " not in printed
    assert f"continuing sweep {sweep.id}" in printed
    assert {run.info.run_id for run in runs(swept) + runs(swept, "epochwise-sweeps")} == before
    assert results(swept) == leaderboard
    assert len(list(swept.path.glob("multirun/*/*"))) == 1


@pytest.mark.slow
def test_a_published_sweep_is_all_in_another_server_and_the_latest_stays_the_latest(swept, sweep, tmp_path):
    other = f"sqlite:///{tmp_path}/other.db"
    last = SweepRecord.read(sweep.folder).changed
    printed = swept.ok("epochwise", "publish", str(sweep.folder), MLFLOW_TRACKING_URI=other)
    assert printed.count(": up to date in MLflow as ") == len(sweep.points)
    assert f"sweep {sweep.id}: http" in printed
    server = mlflow.MlflowClient(other)
    found = server.search_runs([server.get_experiment_by_name("epochwise").experiment_id])
    assert {run.data.tags["sweep.id"] for run in found} == {sweep.id}
    assert SweepRecord.read(sweep.folder).changed == last
    swept.ok("epochwise", "publish", str(sweep.folder))


@pytest.mark.slow
def test_the_best_on_validation_becomes_champion_and_then_the_pipeline(swept, sweep):
    params = (swept.path / "params.yaml").read_text()
    printed = output(swept, "promote", "--params")
    leaderboard = read_json(sweep.folder / "leaderboard.json")
    best, (run_id,) = leaderboard["rows"][0], leaderboard["rows"][0]["runs"]
    version = client(swept).get_model_version_by_alias("epochwise-digits", "champion")
    assert (version.run_id, version.tags["val_accuracy"]) == (run_id, str(best["val_accuracy"]))
    written = f"dense_dropout: {best['model.dense_dropout']}"
    expected = params.replace("dense_dropout: 0.5".ljust(len(written)), written)
    expected = expected.replace("epochs: 2\n", f"epochs: {best['train.epochs']}\n")
    assert (swept.path / "params.yaml").read_text() == expected, "values change, comments and layout do not"
    assert "no epochs to train" in printed

    assert f"{run_id} is the champion of epochwise-digits already" in output(swept, "promote")
    worse = leaderboard["rows"][-1]["runs"][0]
    refused = swept.cli("promote", worse)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1 and "is better on validation" in refused.stderr
    assert client(swept).get_model_version_by_alias("epochwise-digits", "champion").run_id == run_id
    output(swept, "promote", worse, "--force")
    assert client(swept).get_model_version_by_alias("epochwise-digits", "champion").run_id == worse
    printed = swept.ok("epochwise", "predict", "--random", "3", "--model", "champion")
    assert "3 random test images" in printed

    swept.ok("dvc", "repro", "--quiet")
    baseline = read_json(swept.path / "models/run.json")
    assert (baseline["epochs_trained"], baseline["status"]) == (0, "FINISHED")
    winner = finished_runs(swept.path, sweep)[
        POINTS.index(f"epochs={best['train.epochs']} dense_dropout={best['model.dense_dropout']}")
    ]
    assert file_digest(swept.path / "models/model.keras") == file_digest(winner.model)
    swept.ok("git", "checkout", "--quiet", "params.yaml", "dvc.lock", "reports/metrics.json")
    swept.ok("dvc", "checkout", "--force", "--quiet")


@pytest.mark.slow
def test_another_value_costs_only_itself(swept, sweep):
    before = {run.info.run_id for run in runs(swept)}
    printed = output(swept, "run", "-m", "train.epochs=1,2,3", GRID[1])
    assert printed.count("already finished: ") == 4 and printed.count("done: ") == 2
    assert printed.count("epochs: 1 trained, 2 reused") == 2
    extended = latest(swept)
    assert len({run.info.run_id for run in runs(swept)} - before) == 2
    tags = {run.info.run_name: run.data.tags.get("sweep.id") for run in runs(swept)}
    assert {tags[name] for name in NAMES} == {f"{sweep.id} {extended.id}"}, "in both of the sweeps"
    assert len(results(swept)) == 6


@pytest.mark.slow
def test_run_directories_that_are_gone_are_fetched_from_mlflow(swept, sweep):
    leaderboard = results(swept, "--sweep", sweep.id)
    before = {run.info.run_id for run in runs(swept)}
    weights = [file_digest(sweep.run_directory(point).model) for point in sweep.points]
    shutil.rmtree(swept.path / "multirun")
    printed = output(swept, "run", "-m", *GRID)
    assert printed.count("already finished: ") == 4 and "done: " not in printed
    assert {run.info.run_id for run in runs(swept)} == before
    assert results(swept) == leaderboard
    again = latest(swept)
    assert [file_digest(again.run_directory(point).model) for point in again.points] == weights


@pytest.mark.slow
def test_failures_stay_small(project):
    """One job raises, one ends its process, one is refused: the rest finish, and all three are named."""
    project.edit(
        "src/epochwise/trajectory/resume.py",
        "    check_code()\n",
        "    check_code()\n"
        "    import os\n    from epochwise.common.errors import InputError\n"
        "    if cfg.seed == 1:\n        raise ValueError('boom')\n"
        "    if cfg.seed == 2:\n        os._exit(9)\n"
        "    if cfg.seed == 3:\n        raise InputError('not with this seed')\n",
    )
    done = project.run("epochwise", "run", "-m", "seed=0,1,2,3,4", "train.epochs=1")
    assert done.returncode == 1
    assert done.stderr == "error: 3 of 5 runs failed, see above\n"
    folder = latest(project).folder
    log = f"(log: {folder.relative_to(project.path)}"
    footer = done.stdout.partition("ranked by")[2]
    assert f"failed: seed=1: ValueError: boom {log}/1/run.log)" in footer
    assert f"failed: seed=2: its process ended with exit code 9 {log}/2/run.log)" in footer
    assert f"failed: seed=3: not with this seed {log}/3/run.log)" in footer
    assert "ValueError: boom" in (folder / "1/run.log").read_text()
    (row,) = read_json(folder / "leaderboard.json")["rows"]
    assert row["n"] == 2
    statuses = {run.info.run_name: run.info.status for run in runs(project)}
    assert statuses == {f"seed={n}": s for n, s in enumerate(("FINISHED", "FAILED", "KILLED", "FAILED", "FINISHED"))}
    (summary,) = runs(project, "epochwise-sweeps")
    assert (summary.info.status, summary.data.metrics["failed"]) == ("FAILED", 3)


@pytest.mark.long
def test_another_launcher_of_hydra_gives_the_same_sweep(project):
    """Hydra's own launcher runs the jobs in the process of the command, which then publishes the sweep itself."""
    printed = project.ok("epochwise", "run", "-m", "train.epochs=1,2", "hydra/launcher=basic")
    sweep = latest(project)
    assert sweep.link in printed and sweep.published and not sweep.failures
    assert [record["status"] for record in records(sweep)] == ["FINISHED", "FINISHED"]
    assert [row["train.epochs"] for row in read_json(sweep.folder / "leaderboard.json")["rows"]] == [2, 1]
    (summary,) = runs(project, "epochwise-sweeps")
    assert summary.info.status == "FINISHED"


@pytest.mark.long
def test_eight_workers_on_a_cold_start_lose_nothing(project):
    assert not (project.path / "mlflow.db").exists()
    seeds = ",".join(map(str, range(8)))
    parallel = ("hydra/launcher=parallel", "hydra.launcher.n_jobs=8")
    project.ok("epochwise", "run", "-m", f"seed={seeds}", "train.epochs=1", *parallel)
    assert len(runs(project)) == 8 and {run.info.status for run in runs(project)} == {"FINISHED"}
    assert client(project).search_runs(["0"]) == []
    histories = [client(project).get_metric_history(run.info.run_id, "val_accuracy") for run in runs(project)]
    assert {len(history) for history in histories} == {1}
