"""From a command line to the points of a sweep: what can be swept, how points are named, how cores are shared."""

from collections import Counter

import pytest

from epochwise.common.errors import InputError
from epochwise.config import compose, overrides
from epochwise.config.compose import hydra_settings
from epochwise.sweeps import cores, grid
from epochwise.sweeps.cores import threads_override, worker_count
from epochwise.sweeps.grid import grid_jobs, make_points, point_names, varied_parameters


@pytest.mark.parametrize(
    "typed, message",
    [
        ("tracking.experiment=a,b", "tracking.experiment cannot be swept, for it changes no result"),
        ("tracking=mlflow,off", "tracking cannot be swept; of the folders in conf/ only experiment can"),
        ("+sweep=grid,epochs", "sweep cannot be swept; of the folders in conf/ only experiment can"),
        (
            "hydra.launcher.n_jobs=1,2",
            "hydra.launcher.n_jobs cannot be swept, for it has one value for the whole sweep",
        ),
        ("hydra.sweeper.eta=2,3", "hydra.sweeper.eta cannot be swept, for it has one value for the whole sweep"),
        ("hydra/sweeper=grid,halving", "hydra/sweeper cannot be swept, for it has one value for the whole sweep"),
        ("hydra.sweep.subdir=here", "hydra.sweep.subdir is the job's number"),
        (
            "train.epochs=interval(1,2)",
            "train.epochs=interval(1,2): train.epochs needs values, such as train.epochs=1,3,9",
        ),
        (
            "model.dense_dropout=interval(0,0.5)",
            "model.dense_dropout=interval(0,0.5): values are drawn from an interval",
        ),
        (
            "train.learning_rate=tag(log,interval(1e-4,1))",
            "with hydra/sweeper=random or tpe; all other sweeps need a list",
        ),
        ("train.epochs=shuffle(range(1,60))", "shuffle() gives other jobs each time"),
        ("train.epoch=1,2", "unknown key train.epoch; did you mean train.epochs?"),
        ("hydra.sweep.dir=outputs/here", "hydra.sweep.dir=outputs/here: must lie in multirun/"),
    ],
)
def test_what_cannot_be_swept_is_refused_and_leaves_nothing(project, typed, message):
    done = project.cli("run", "-m", typed)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr and done.stderr.startswith("error: ")
    assert not (project.path / "multirun").exists()


def test_halving_says_where_intervals_are_drawn_from(project):
    done = project.cli(
        "run", "-m", "hydra/sweeper=halving", "train.epochs=1,2", "model.dense_dropout=interval(0.1,0.5)"
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "model.dense_dropout=interval(0.1,0.5): values are drawn" in done.stderr
    assert "hydra/sweeper=random or tpe" in done.stderr and done.stderr.count("\n") == 1


def test_help_and_info_run_nothing(project):
    assert "https://hydra.cc" in project.cli("run", "--hydra-help").stdout
    printed = project.cli("run", "-m", "--help", "train.epochs=1,2").stdout
    for word in (
        "--multirun",
        "experiment=fast",
        "+sweep=grid",
        "hydra/launcher=serial|parallel",
        "dense_dropout: 0.5",
    ):
        assert word in printed
    done = project.cli("run", "+sweep=grid", "--info", "plugins")
    assert done.returncode == 0 and done.stdout and "train.epochs" not in done.stdout
    assert not (project.path / "multirun").exists()


@pytest.mark.parametrize("preset, points", [("epochs", 6), ("dropout", 3), ("grid", 18), ("seeds", 5)])
def test_presets_are_sweeps_without_m(project, preset, points):
    settings = hydra_settings([f"+sweep={preset}"])
    assert settings.mode.name == "MULTIRUN"
    jobs = grid_jobs([f"+sweep={preset}"], settings)
    assert len(jobs) == points and len(set(map(tuple, jobs))) == points
    own = grid_jobs([f"+sweep={preset}", "train.epochs=1"], settings)
    assert all("train.epochs=1" in job for job in own), "the command line overrides the preset"


def test_names_hold_what_varies():
    jobs = overrides.grid(["prepare.source=digits", "train.epochs=1,2", "+sweep=grid", "model.filters=[1,2],[3,4]"])
    assert point_names(jobs)[0] == "epochs=1 filters=[1,2]"
    assert len(set(point_names(jobs))) == 4
    assert point_names([["train.epochs=1", "tracking=off"]]) == ["epochs=1"]
    assert point_names([[]]) == ["run"]


def test_points_know_their_parameters_their_data_and_what_varies(project):
    jobs = overrides.grid(["train.epochs=1,2", "prepare.validation_size=300,200", "seed=1"])
    cfg, points = make_points(jobs)
    assert (cfg.train.epochs, cfg.prepare.validation_size) == (1, 300)
    assert [point.parameters["train.epochs"] for point in points] == [1, 1, 2, 2]
    assert len({point.data_sha256 for point in points}) == 2 and len({point.fingerprint for point in points}) == 4
    assert varied_parameters(points) == ["train.epochs", "prepare.validation_size"], "as they were typed"


def test_each_point_that_does_not_fit_its_data_is_named(project):
    with pytest.raises(InputError) as refused:
        make_points(overrides.grid(["train.epochs=1,2", "model.kernel_size=3,9"]))
    lines = str(refused.value).splitlines()
    assert [line.partition(": ")[0] for line in lines] == [
        "train.epochs=1 model.kernel_size=9",
        "train.epochs=2 model.kernel_size=9",
    ]


def test_data_that_cannot_be_prepared_refuses_its_points_only(project, monkeypatch):
    prepare = grid.prepared_for

    def failing(cfg):
        if cfg.prepare.split_seed == 1:
            raise OSError("no space left on device")
        return prepare(cfg)

    monkeypatch.setattr(grid, "prepared_for", failing)
    _, points = make_points(overrides.grid(["prepare.split_seed=0,1", "seed=0,1"]))
    assert [point.refused for point in points] == ["", "", *["no space left on device"] * 2]
    assert [bool(point.fingerprint) for point in points] == [True, True, False, False]


def test_nothing_of_a_thousand_points_is_done_twice(project, monkeypatch):
    """Composing takes 0.1 s and reading data longer: with either for each point, a grid would take minutes to check."""
    calls = Counter()

    def counted(module, name):
        function = getattr(module, name)

        def count(*arguments):
            calls[name] += 1
            return function(*arguments)

        monkeypatch.setattr(module, name, count)

    counted(compose, "compose")
    counted(grid, "check_data")
    counted(grid, "prepared_for")
    jobs = overrides.grid(["seed=range(250)", "model.dense_dropout=0.25,0.5", "train.epochs=2,4"])
    _, points = make_points(jobs)
    assert len({point.fingerprint for point in points}) == 1000
    assert calls == {"compose": 1, "check_data": 2, "prepared_for": 1}, "the data is checked for each network"


@pytest.mark.parametrize(
    "typed, expected",
    [
        ([], []),
        (["hydra/launcher=parallel"], ["train.threads=1"]),
        (["hydra/launcher=parallel", "hydra.launcher.n_jobs=2"], ["train.threads=4"]),
        (["hydra/launcher=parallel", "hydra.launcher.n_jobs=99"], ["train.threads=1"]),
        (["hydra/launcher=parallel", "train.threads=2"], []),
        (["hydra/launcher=parallel", "experiment=writeup"], []),
    ],
)
def test_cores_are_divided_unless_threads_are_given(project, monkeypatch, typed, expected):
    monkeypatch.setattr(cores, "cores", lambda: 8)
    assert threads_override([typed], hydra_settings(typed)) == expected


def test_threads_that_one_preset_of_several_gives_are_kept(project):
    settings = hydra_settings(["hydra/launcher=parallel"])
    jobs = grid_jobs(["experiment=writeup,quick"], settings)
    assert threads_override(jobs, settings) == []


@pytest.mark.parametrize("n_jobs", ["0", "two", "-2", "true", "null"])
def test_a_wrong_number_of_jobs_is_refused(project, n_jobs):
    done = project.cli("run", "-m", "seed=1,2", "hydra/launcher=parallel", f"hydra.launcher.n_jobs={n_jobs}")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1) and "hydra.launcher.n_jobs must be" in done.stderr


def test_there_are_as_many_workers_as_fit_or_as_there_are_jobs(monkeypatch):
    monkeypatch.setattr(cores, "cores", lambda: 8)
    assert worker_count(3, [1] * 9) == 3
    assert worker_count(-1, [1] * 9) == 8
    assert worker_count(-1, [1, 4, 1]) == 2, "each with as many threads as the widest job"
    assert worker_count(-1, [1, 1]) == 2
    assert worker_count(-1, [99]) == worker_count(4, []) == 1
