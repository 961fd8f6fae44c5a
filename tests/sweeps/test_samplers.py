"""Random and TPE search: the same command draws the same settings, also after a crash, and goes on."""

import shutil
import sys

import pytest
from conftest import Project
from fake_runs import IS_KILLED, faked, trained_epochs  # noqa: F401

from epochwise.common.files import read_json
from epochwise.config.compose import hydra_settings
from epochwise.sweeps.directory import known_sweeps
from epochwise.sweeps.halving import Decision, Entry, setting_key
from epochwise.sweeps.samplers import Draws, SampledProposer
from epochwise.sweeps.space import read_space

pytestmark = pytest.mark.usefixtures("faked")

UNITS = "model.dense_units=range(100,250,2)"  # what runs reach, see fake_runs
DROPOUT = "model.dense_dropout=interval(0.0,0.8)"
COMMAND = ("run", "-m", "tracking=off", "train.epochs=1", UNITS, DROPOUT, "hydra.sweeper.n_trials=6")
BATCHES = ("hydra/sweeper=tpe", "hydra.sweeper.batch_size=3")


def search(project: Project, *typed: str) -> list[tuple]:
    """The settings of a search, in the order in which they were drawn."""
    done = project.cli(*typed)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return drawn(project)


def drawn(project: Project) -> list[tuple]:
    points = known_sweeps(project.path)[0].points
    keys = "model.dense_units", "model.dense_dropout", "train.epochs", "seed"
    return [tuple(point.parameters[key] for key in keys) for point in points]


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_the_same_command_draws_the_same_settings(project, sampler):
    first = search(project, *COMMAND, f"hydra/sweeper={sampler}")
    assert len(set(first)) == 6 and len(trained_epochs(project.path)) == 6
    assert search(project, *COMMAND, f"hydra/sweeper={sampler}") == first
    assert len(trained_epochs(project.path)) == 6, "nothing is run again"
    shutil.rmtree(project.path / "multirun")
    assert search(project, *COMMAND, f"hydra/sweeper={sampler}") == first, "from nothing, too"


def test_another_seed_of_the_sampler_draws_other_settings(project):
    settings = hydra_settings(["hydra/sweeper=random"])
    space = read_space([UNITS, DROPOUT], settings)
    keys = "model.dense_units", "model.dense_dropout"
    drawn = [
        [tuple(point.parameters[key] for key in keys) for point in SampledProposer(space, draws).ask()]
        for draws in (Draws("random", 4, 4, seed) for seed in (0, 1, 0))
    ]
    assert drawn[0] == drawn[2] and not set(drawn[0]) & set(drawn[1])


@pytest.mark.slow
def test_with_any_number_of_workers_the_settings_are_the_same(project):
    tpe = (*COMMAND, *BATCHES, "train.threads=1")
    first = search(project, *tpe)
    shutil.rmtree(project.path / "multirun")
    assert search(project, *tpe, "hydra/launcher=parallel", "hydra.launcher.n_jobs=3") == first


@pytest.mark.slow
def test_more_trials_begin_with_the_same_ones(project):
    first = search(project, *COMMAND, *BATCHES)
    more = search(project, *COMMAND, *BATCHES, "hydra.sweeper.n_trials=8")
    assert more[:6] == first and len(more) == 8
    assert len(trained_epochs(project.path)) == 8


def test_tpe_draws_where_earlier_settings_did_well(project):
    """The larger model.dense_units, the better."""
    space = read_space([UNITS, DROPOUT, "train.epochs=1"], hydra_settings(["hydra/sweeper=tpe"]))
    proposer, units = SampledProposer(space, Draws("tpe", 60, 5, 0)), []
    while points := proposer.ask():
        drawn = [point.parameters["model.dense_units"] for point in points]
        entries = [
            Entry(setting_key(point.parameters), [point], number / 300, 0.1, None)
            for point, number in zip(points, drawn, strict=True)
        ]
        proposer.tell([Decision(0, 1, entries, [], [], {}, [])])
        units += drawn
    assert len(units) == 60
    assert sum(units[40:]) / 20 > sum(units[:10]) / 10 + 20


@pytest.mark.slow
def test_after_a_killed_worker_the_same_settings_follow(project):
    expected = search(project, *COMMAND, *BATCHES, "hydra.sweeper.n_trials=8")
    shutil.rmtree(project.path / "multirun")
    (project.path / IS_KILLED).write_text(str(expected[4][0]))
    assert project.cli(*COMMAND, *BATCHES, "hydra.sweeper.n_trials=8").returncode == 1
    assert drawn(project) == expected[:6], "the next batch needs the results of this one"
    assert search(project, *COMMAND, *BATCHES, "hydra.sweeper.n_trials=8") == expected


def test_rungs_make_a_bracket_of_each_batch(project):
    found = search(project, *COMMAND, *BATCHES, "train.epochs=1,3", "hydra.sweeper.keep_ties=false")
    assert [setting[2] for setting in found] == [*(1, 1, 1, 3), *(1, 1, 1, 3)]
    assert found[3][:2] == max(found[:3])[:2] and found[7][:2] == max(found[4:7])[:2]
    assert sum(trained_epochs(project.path)) == 6 + 2 * 2
    folder = known_sweeps(project.path)[0].folder
    assert "bracket 2, after 1 epoch: 1 of 3 settings went on" in (folder / "leaderboard.md").read_text()
    rows = read_json(folder / "leaderboard.json")["rows"]
    assert [row["epochs"] for row in rows] == [3, 3, 1, 1, 1, 1]


def test_random_search_is_one_bracket_and_seeds_are_run_for_each_setting(project):
    typed = (*COMMAND, "hydra.sweeper.n_trials=3", "hydra.sweeper.keep_ties=false")
    found = search(project, *typed, "train.epochs=1,2", "seed=0,1", "hydra/sweeper=random")
    assert [setting[2:] for setting in found] == [(1, 0), (1, 1)] * 3 + [(2, 0), (2, 1)]


def test_a_setting_that_cannot_be_run_is_named_and_the_others_are_run(project):
    """A kernel of 4 leaves 2 of 8 pixels, which a pool of 3 does not fit; each value by itself does fit."""
    typed = ("run", "-m", "tracking=off", "train.epochs=1", "hydra/sweeper=random", "hydra.sweeper.n_trials=12")
    done = project.cli(*typed, "model.kernel_size=choice(2,4)", "model.pool_size=choice(2,3)", UNITS)
    assert done.returncode == 0, done.stderr
    assert "not run: kernel_size=4 pool_size=3 dense_units=" in done.stdout
    assert "model.pool_size must be 2 or less for the 2 pixels that it pools, got 3" in done.stdout
    points = known_sweeps(project.path)[0].points
    assert 0 < len(points) < 12
    assert all((p.parameters["model.kernel_size"], p.parameters["model.pool_size"]) != (4, 3) for p in points)
    named = [line for line in done.stdout.splitlines() if line.startswith("not run: ")]
    assert len(named) == len(set(named)) == 12 - len(points), "each is named once"
    done = project.cli(*typed, "model.kernel_size=4", "model.pool_size=3", UNITS)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("error: none of the 12 settings that were drawn can be run; dense_units=")


@pytest.mark.slow
def test_a_dry_run_counts_what_is_then_trained(project):
    typed = (*COMMAND, *BATCHES, "train.epochs=1,3")
    exact = (*typed, "hydra.sweeper.keep_ties=false")
    assert "8 runs to run on 1 worker: 10 epochs to train" in project.cli(*exact, "--dry-run").stdout
    assert "at least 10 and at most 18 epochs to train" in project.cli(*typed, "--dry-run").stdout
    search(project, *exact)
    assert sum(trained_epochs(project.path)) == 10
    assert ": 0 epochs to train" in project.cli(*exact, "--dry-run").stdout


@pytest.mark.parametrize(
    "more, epochs",
    [
        (("train.epochs=1,3", "train.cooldown_epochs=1"), f"{2 * (3 * 1 + 1 * 3)} epochs"),
        (("train.epochs=9", "train.patience=2"), f"at least {6 * 3} and at most {6 * 9} epochs"),
    ],
)
def test_a_dry_run_counts_what_is_not_drawn_yet(project, more, epochs):
    typed = (*COMMAND, *BATCHES, "hydra.sweeper.keep_ties=false", *more)
    assert f"{epochs} to train" in project.cli(*typed, "--dry-run").stdout


def test_settings_that_are_the_same_run_count_once_and_the_sampler_learns_of_all(project):
    """SGD has no beta_1, so that all settings are one run."""
    fixed = ("train.epochs=1,2", "train.optimizer=sgd", "train.beta_1=choice(0.8,0.9)")
    space = read_space(fixed, hydra_settings(["hydra/sweeper=tpe"]))
    proposer = SampledProposer(space, Draws("tpe", 8, 8, 0))
    assert len(proposer.ask()) == 4, "two settings on two rungs"
    ((key, trials),) = proposer.trials.items()
    entries = [Entry(key, [], 0.9, 0.1, None)]
    proposer.tell([Decision(0, epochs, entries, [], [], {}, []) for epochs in (1, 2)])
    assert [trial.value for trial in proposer.study.trials] == [0.9] * len(trials) == [0.9] * 8


def test_presets_can_be_drawn_and_the_leaderboard_shows_what_they_differ_in(project):
    for name, kernel in (("small", 2), ("large", 3)):
        text = f"# @package _global_\nmodel:\n  kernel_size: {kernel}\ntrain:\n  epochs: {kernel}\n"
        (project.path / "conf" / "experiment" / f"{name}.yaml").write_text(text)
    typed = ("run", "-m", "tracking=off", "hydra/sweeper=random", "hydra.sweeper.n_trials=6", UNITS)
    done = project.cli(*typed, "experiment=choice(small,large)")
    assert done.returncode == 0, done.stderr
    rows = read_json(known_sweeps(project.path)[0].folder / "leaderboard.json")["rows"]
    assert {row["model.kernel_size"] for row in rows} == {2, 3} and {row["epochs"] for row in rows} == {2}


def test_without_optuna_the_way_out_is_named(project, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    done = project.cli(*COMMAND, "hydra/sweeper=tpe")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "this search needs Optuna: pip install 'epochwise[optuna]'" in done.stderr
