"""A sweep from its command to MLflow, the registry and back to the pipeline, on the bundled digits."""

import json
import shutil

import mlflow
import pytest
from conftest import Project, copy_project

from epochwise.common.files import digest, read_json
from epochwise.config import overrides
from epochwise.sweeps import command as sweep
from epochwise.sweeps import record as sweepdir

GRID = ("train.epochs=1,2", "model.dense_dropout=0.25,0.5")
# The pipeline has made the last one: `dvc repro` ran it as `baseline`.
NAMES = ["epochs=1 dense_dropout=0.25", "epochs=1 dense_dropout=0.5", "epochs=2 dense_dropout=0.25", "baseline"]
POINTS = [*NAMES[:3], "epochs=2 dense_dropout=0.5"]
RESULTS = ("train.epochs", "model.dense_dropout", "n", "val_accuracy", "val_loss", "best_epoch", "test_accuracy")


@pytest.fixture(scope="module")
def swept(tmp_path_factory) -> Project:
    """A project after `dvc repro` and a sweep."""
    made = copy_project(tmp_path_factory.mktemp("swept") / "a project")
    made.ok("dvc", "repro", "--quiet")
    made.ok("git", "add", "--all")
    made.ok("git", "commit", "--quiet", "--message", "results")
    made.said = made.ok("epochwise", "run", "-m", *GRID)
    made.sweep = sweepdir.known(made.path)[0]
    return made


def client(project):
    return mlflow.MlflowClient(f"sqlite:///{project.path}/mlflow.db")


def runs(project, experiment="epochwise"):
    there = client(project)
    return there.search_runs([there.get_experiment_by_name(experiment).experiment_id])


def results(project, *command):
    """The leaderboard, without what a run that is there already does not pay again."""
    board = json.loads(project.ok("epochwise", "compare", "--format", "json", *command))
    return [{key: row[key] for key in RESULTS} for row in board["rows"]]


def test_each_point_is_a_run_directory_and_a_run_in_mlflow(swept):
    found = {run.info.run_name: run for run in runs(swept)}
    assert sorted(found) == sorted(NAMES)
    for job, name in enumerate(NAMES):
        record = read_json(swept.sweep.folder / str(job) / "run.json")
        run = found[name]
        assert (record["run_id"], record["status"]) == (run.info.run_id, "FINISHED")
        assert run.data.tags["sweep.id"] == swept.sweep.id
        assert {"best_val_accuracy", "best_epoch", "val_accuracy", "test_accuracy"} <= set(run.data.metrics)
        assert len(run.data.params) == 8, "few, so that what varies is seen"
        assert (swept.sweep.folder / str(job) / "run.log").exists() == (name != "baseline")


def test_the_pipeline_is_left_as_it_was(swept):
    assert swept.ok("dvc", "status").strip() == "Data and pipelines are up to date."
    assert swept.ok("git", "status", "--porcelain") == ""


def test_epochs_are_shared_also_with_the_pipeline(swept):
    records = [read_json(swept.sweep.folder / str(job) / "run.json") for job in range(4)]
    trained = {name: record["epochs_trained"] for name, record in zip(NAMES, records, strict=True)}
    assert trained == dict(zip(NAMES, (0, 0, 2, 2), strict=True)), "`dvc repro` has trained with 0.5"


def test_the_board_is_printed_and_kept(swept):
    assert (swept.said.count("done: "), swept.said.count("have it: ")) == (3, 1)
    assert f"sweep {swept.sweep.id}" in swept.said and "epochwise promote" in swept.said
    kept = {path.name for path in swept.sweep.folder.iterdir() if path.is_file() and path.name != ".lock"}
    assert {"leaderboard.csv", "leaderboard.json", "leaderboard.md", "curves.png", "heat_map.png", "sweep.json"} <= kept


def test_the_link_leads_to_a_view_of_the_sweep(swept):
    sweep = sweepdir.read(swept.sweep.folder)
    assert sweep.link in swept.said and f"viewStateShareKey={sweep.id}" in sweep.link
    experiment = client(swept).get_experiment_by_name("epochwise")
    view = json.loads(json.loads(experiment.tags[f"mlflow.sharedViewState.{sweep.id}"])["state"])
    found = client(swept).search_runs([experiment.experiment_id], view["searchFilter"], order_by=[view["orderByKey"]])
    assert {run.info.run_name for run in found} == set(NAMES)
    assert view["selectedColumns"][:3] == [
        "params.`train.epochs`",
        "params.`model.dense_dropout`",
        "metrics.`val_accuracy`",
    ]


def test_a_run_sums_the_sweep_up(swept):
    (summary,) = runs(swept, "epochwise-sweeps")
    assert (summary.info.status, summary.data.metrics["runs"]) == ("FINISHED", 4)
    there = {item.path for item in client(swept).list_artifacts(summary.info.run_id)}
    assert {"heat_map.png", "curves.png", "leaderboard.csv", "leaderboard.md", "leaderboard.json"} == there
    assert "| 1 |" in summary.data.tags["mlflow.note.content"]


def test_a_finished_sweep_again_runs_nothing(swept):
    before = {run.info.run_id for run in runs(swept) + runs(swept, "epochwise-sweeps")}
    board = results(swept, "--sweep", swept.sweep.id)
    said = swept.ok("epochwise", "run", "-m", *GRID)
    assert said.count("have it: ") == 4 and "done: " not in said and f"sweep {swept.sweep.id} goes on" in said
    assert {run.info.run_id for run in runs(swept) + runs(swept, "epochwise-sweeps")} == before
    assert results(swept) == board
    assert len(list(swept.path.glob("multirun/*/*"))) == 1


@pytest.mark.slow
def test_a_published_sweep_is_all_in_another_server_and_the_latest_stays_the_latest(swept, tmp_path):
    other = f"sqlite:///{tmp_path}/other.db"
    record = swept.sweep.folder / sweepdir.RECORD
    last = record.stat().st_mtime_ns
    said = swept.ok("epochwise", "publish", str(swept.sweep.folder), MLFLOW_TRACKING_URI=other)
    assert said.count(": level as ") == len(swept.sweep.points) and f"sweep {swept.sweep.id}: http" in said
    there = mlflow.MlflowClient(other)
    found = there.search_runs([there.get_experiment_by_name("epochwise").experiment_id])
    assert {run.data.tags["sweep.id"] for run in found} == {swept.sweep.id}
    assert record.stat().st_mtime_ns == last
    swept.ok("epochwise", "publish", str(swept.sweep.folder))


@pytest.mark.slow
def test_the_best_on_validation_becomes_champion_and_then_the_pipeline(swept):
    params = (swept.path / "params.yaml").read_text()
    said = swept.ok("epochwise", "promote", "--params")
    best = json.loads((swept.sweep.folder / "leaderboard.json").read_text())["rows"][0]
    (run_id,) = best["runs"]
    version = client(swept).get_model_version_by_alias("epochwise", "champion")
    assert (version.run_id, version.tags["val_accuracy"]) == (run_id, str(best["val_accuracy"]))
    written = f"dense_dropout: {best['model.dense_dropout']}"
    expected = params.replace("dense_dropout: 0.5".ljust(len(written)), written)
    expected = expected.replace("epochs: 2\n", f"epochs: {best['train.epochs']}\n")
    assert (swept.path / "params.yaml").read_text() == expected, "values change, comments and layout do not"
    assert "no epochs to train" in said

    assert f"{run_id} is the champion of epochwise already" in swept.ok("epochwise", "promote")
    worse = json.loads((swept.sweep.folder / "leaderboard.json").read_text())["rows"][-1]["runs"][0]
    refused = swept.run("epochwise", "promote", worse)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1 and "is better on validation" in refused.stderr
    assert client(swept).get_model_version_by_alias("epochwise", "champion").run_id == run_id
    swept.ok("epochwise", "promote", worse, "--force")
    assert client(swept).get_model_version_by_alias("epochwise", "champion").run_id == worse
    said = swept.ok("epochwise", "predict", "--random", "3", "--model", "champion")
    assert "3 random test images" in said

    swept.ok("dvc", "repro", "--quiet")
    baseline = read_json(swept.path / "models/run.json")
    assert (baseline["epochs_trained"], baseline["status"]) == (0, "FINISHED")
    winner = sweepdir.finished(swept.path, swept.sweep)[
        POINTS.index(f"epochs={best['train.epochs']} dense_dropout={best['model.dense_dropout']}")
    ]
    assert digest(swept.path / "models/model.keras") == digest(winner / "model.keras")
    swept.ok("git", "checkout", "--quiet", "params.yaml", "dvc.lock", "reports/metrics.json")
    swept.ok("dvc", "checkout", "--force", "--quiet")


@pytest.mark.slow
def test_another_value_costs_only_itself(swept):
    before = {run.info.run_id for run in runs(swept)}
    said = swept.ok("epochwise", "run", "-m", "train.epochs=1,2,3", GRID[1])
    assert said.count("have it: ") == 4 and said.count("done: ") == 2
    assert said.count("epochs: 1 trained, 2 reused") == 2
    extended = sweepdir.known(swept.path)[0]
    assert len({run.info.run_id for run in runs(swept)} - before) == 2
    tags = {run.info.run_name: run.data.tags.get("sweep.id") for run in runs(swept)}
    assert {tags[name] for name in NAMES} == {f"{swept.sweep.id} {extended.id}"}, "in both of the sweeps"
    assert len(results(swept)) == 6


@pytest.mark.slow
def test_run_directories_that_are_gone_are_fetched_from_mlflow(swept):
    board = results(swept, "--sweep", swept.sweep.id)
    before = {run.info.run_id for run in runs(swept)}
    weights = [digest(swept.sweep.folder / str(job) / "model.keras") for job in range(4)]
    shutil.rmtree(swept.path / "multirun")
    said = swept.ok("epochwise", "run", "-m", *GRID)
    assert said.count("have it: ") == 4 and "done: " not in said
    assert {run.info.run_id for run in runs(swept)} == before
    assert results(swept) == board
    folder = sweepdir.known(swept.path)[0].folder
    assert [digest(folder / str(job) / "model.keras") for job in range(4)] == weights


@pytest.mark.slow
def test_failures_stay_small(project):
    """One job raises, one ends its process, one is refused: the rest finish, and all three are named."""
    project.edit(
        "src/epochwise/training/loop.py",
        "    check_code()\n",
        "    check_code()\n"
        "    import os\n    from epochwise import InputError\n"
        "    if cfg.seed == 1:\n        raise ValueError('boom')\n"
        "    if cfg.seed == 2:\n        os._exit(9)\n"
        "    if cfg.seed == 3:\n        raise InputError('not with this seed')\n",
    )
    done = project.run("epochwise", "run", "-m", "seed=0,1,2,3,4", "train.epochs=1")
    assert done.returncode == 1
    assert done.stderr == "error: 3 of 5 runs failed, see above\n"
    folder = sweepdir.known(project.path)[0].folder
    log = f"(log: {folder.relative_to(project.path)}"
    foot = done.stdout.partition("ranked by")[2]
    assert f"failed: seed=1: ValueError: boom {log}/1/run.log)" in foot
    assert f"failed: seed=2: its process ended with exit code 9 {log}/2/run.log)" in foot
    assert f"failed: seed=3: not with this seed {log}/3/run.log)" in foot
    assert "ValueError: boom" in (folder / "1/run.log").read_text()
    (row,) = json.loads((folder / "leaderboard.json").read_text())["rows"]
    assert row["n"] == 2
    statuses = {run.info.run_name: run.info.status for run in runs(project)}
    assert statuses == {f"seed={n}": s for n, s in enumerate(("FINISHED", "FAILED", "KILLED", "FAILED", "FINISHED"))}
    (summary,) = runs(project, "epochwise-sweeps")
    assert (summary.info.status, summary.data.metrics["failed"]) == ("FAILED", 3)


@pytest.mark.long
def test_eight_workers_on_a_cold_start_lose_nothing(project):
    assert not (project.path / "mlflow.db").exists()
    seeds = ",".join(map(str, range(8)))
    project.ok(
        "epochwise",
        "run",
        "-m",
        f"seed={seeds}",
        "train.epochs=1",
        "hydra/launcher=parallel",
        "hydra.launcher.n_jobs=8",
    )
    there = client(project)
    assert len(runs(project)) == 8 and {run.info.status for run in runs(project)} == {"FINISHED"}
    assert there.search_runs(["0"]) == []
    assert {len(there.get_metric_history(run.info.run_id, "val_accuracy")) for run in runs(project)} == {1}


@pytest.mark.parametrize(
    "typed, says",
    [
        ("tracking.experiment=a,b", "tracking.experiment cannot be swept, for it changes no result"),
        ("tracking=mlflow,off", "tracking cannot be swept"),
        ("+sweep=grid,epochs", "sweep cannot be swept"),
        ("hydra.launcher.n_jobs=1,2", "hydra.launcher.n_jobs cannot be swept"),
        ("hydra.sweep.subdir=here", "hydra.sweep.subdir is the job's number"),
        ("train.epochs=interval(1,2)", "not a grid of values"),
        ("train.epochs=shuffle(range(1,60))", "shuffle() gives other jobs each time"),
        ("train.epoch=1,2", "unknown key train.epoch; did you mean train.epochs?"),
    ],
)
def test_what_cannot_be_swept_is_refused_and_leaves_nothing(project, typed, says):
    done = project.run("epochwise", "run", "-m", typed)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr and done.stderr.startswith("error: ")
    assert not (project.path / "multirun").exists()


def test_help_and_info_run_nothing(project):
    assert "Powered by Hydra" in project.ok("epochwise", "run", "-m", "--help", "train.epochs=1,2")
    assert "train.epochs" not in project.ok("epochwise", "run", "+sweep=grid", "--info", "plugins")
    assert not (project.path / "multirun").exists()


@pytest.mark.parametrize("preset, points", [("epochs", 6), ("dropout", 3), ("grid", 18), ("seeds", 5)])
def test_presets_are_sweeps_without_m(project, preset, points):
    from epochwise.config import compose as config

    settings = config.hydra_settings([f"+sweep={preset}"])
    assert settings.mode.name == "MULTIRUN"
    jobs = sweep._grid([f"+sweep={preset}"], settings)
    assert len(jobs) == points and len(set(map(tuple, jobs))) == points
    own = sweep._grid([f"+sweep={preset}", "train.epochs=1"], settings)
    assert all("train.epochs=1" in job for job in own), "the command line overrides the preset"


def test_names_tell_what_varies(project):
    jobs = overrides.grid(["prepare.source=digits", "train.epochs=1,2", "+sweep=grid", "model.filters=[1,2],[3,4]"])
    assert sweep._name(jobs[0], jobs) == "epochs=1 filters=[1,2]"
    assert sweep._name(["train.epochs=1"], [["train.epochs=1"]]) == "epochs=1"


@pytest.mark.parametrize(
    "typed, expected",
    [
        ([], []),
        (["hydra/launcher=parallel"], ["train.threads=1"]),
        (["hydra/launcher=parallel", "hydra.launcher.n_jobs=2"], ["train.threads=4"]),
        (["hydra/launcher=parallel", "hydra.launcher.n_jobs=99"], ["train.threads=1"]),
        (["hydra/launcher=parallel", "train.threads=2"], []),
        (["hydra/launcher=parallel", "experiment=seed"], []),
    ],
)
def test_cores_are_divided_unless_threads_are_told(project, monkeypatch, typed, expected):
    from epochwise.config import compose as config
    from epochwise.sweeps import executor as conductor

    monkeypatch.setattr(conductor, "cores", lambda: 8)
    assert sweep._share_of_cores([typed], config.hydra_settings(typed)) == expected


def test_threads_that_a_preset_tells_are_kept(project):
    from epochwise.config import compose as config

    settings = config.hydra_settings(["hydra/launcher=parallel"])
    jobs = sweep._grid(["experiment=seed,quick"], settings)
    assert sweep._share_of_cores(jobs, settings) == []


def test_a_wrong_number_of_jobs_is_refused(project):
    for n_jobs in ("0", "two", "-2"):
        done = project.run(
            "epochwise", "run", "-m", "seed=1,2", "hydra/launcher=parallel", f"hydra.launcher.n_jobs={n_jobs}"
        )
        assert (done.returncode, done.stderr.count("\n")) == (2, 1) and "hydra.launcher.n_jobs must be" in done.stderr
