"""Random and TPE search: the same command draws the same settings, also after a crash, and goes on."""

import shutil
import sys

import pytest
from conftest import Project
from fake_runs import IS_KILLED, faked, trained_epochs  # noqa: F401

from epochwise.common.files import read_json
from epochwise.sweeps.directory import known_sweeps

pytestmark = pytest.mark.usefixtures("faked")

UNITS = "model.dense_units=range(100,250,2)"  # what runs reach, see fake_runs
DROPOUT = "model.dense_dropout=interval(0.0,0.8)"
COMMAND = ("run", "-m", "tracking=off", "train.epochs=1", UNITS, DROPOUT, "hydra.sweeper.n_trials=12")


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
    assert len(set(first)) == 12 and len(trained_epochs(project.path)) == 12
    assert search(project, *COMMAND, f"hydra/sweeper={sampler}") == first
    assert len(trained_epochs(project.path)) == 12, "nothing is run again"
    shutil.rmtree(project.path / "multirun")
    assert search(project, *COMMAND, f"hydra/sweeper={sampler}") == first, "from nothing, too"
    assert search(project, *COMMAND, f"hydra/sweeper={sampler}", "hydra.sweeper.seed=1") != first


def test_with_any_number_of_workers_the_settings_are_the_same(project):
    tpe = (*COMMAND, "hydra/sweeper=tpe", "train.threads=1")
    first = search(project, *tpe)
    shutil.rmtree(project.path / "multirun")
    assert search(project, *tpe, "hydra/launcher=parallel", "hydra.launcher.n_jobs=3") == first


def test_more_trials_begin_with_the_same_ones(project):
    first = search(project, *COMMAND, "hydra/sweeper=tpe", "hydra.sweeper.batch_size=4")
    more = search(project, *COMMAND, "hydra.sweeper.n_trials=16", "hydra/sweeper=tpe", "hydra.sweeper.batch_size=4")
    assert more[:12] == first and len(more) == 16
    assert len(trained_epochs(project.path)) == 16


def test_tpe_draws_where_earlier_settings_did_well(project):
    tpe = search(project, *COMMAND, "hydra/sweeper=tpe", "hydra.sweeper.n_trials=40")
    units = [setting[0] for setting in tpe]
    assert sum(units[20:]) / 20 > sum(units[:10]) / 10 + 20


def test_after_a_killed_worker_the_same_settings_follow(project):
    tpe = (*COMMAND, "hydra/sweeper=tpe", "hydra.sweeper.batch_size=4")
    expected = search(project, *tpe)
    shutil.rmtree(project.path / "multirun")
    (project.path / IS_KILLED).write_text(str(expected[5][0]))
    assert project.cli(*tpe).returncode == 1
    assert drawn(project) == expected[:8], "the next batch needs the results of this one"
    assert search(project, *tpe) == expected


def test_rungs_make_a_bracket_of_each_batch(project):
    typed = (*COMMAND, "train.epochs=1,3", "hydra/sweeper=tpe", "hydra.sweeper.batch_size=6")
    found = search(project, *typed, "hydra.sweeper.keep_ties=false")
    assert [setting[2] for setting in found] == [1] * 6 + [3] * 2 + [1] * 6 + [3] * 2
    first = sorted(found[:6], reverse=True)[:2]
    assert {setting[:2] for setting in found[6:8]} == {setting[:2] for setting in first}
    assert sum(trained_epochs(project.path)) == 12 + 4 * 2
    folder = known_sweeps(project.path)[0].folder
    assert "bracket 2, after 1 epoch: 2 of 6 settings went on" in (folder / "leaderboard.md").read_text()
    rows = read_json(folder / "leaderboard.json")["rows"]
    assert [row["epochs"] for row in rows] == [3] * 4 + [1] * 8


def test_random_search_is_one_bracket_and_seeds_are_run_for_each_setting(project):
    typed = (*COMMAND, "train.epochs=1,2", "seed=0,1", "hydra/sweeper=random", "hydra.sweeper.keep_ties=false")
    found = search(project, *typed)
    assert [setting[2:] for setting in found] == [(1, 0), (1, 1)] * 12 + [(2, 0), (2, 1)] * 4


def test_a_setting_that_cannot_be_run_is_named_and_the_others_are_run(project):
    """A kernel of 4 leaves 2 of 8 pixels, which a pool of 3 does not fit; each value by itself does fit."""
    typed = ("run", "-m", "tracking=off", "train.epochs=1", "hydra/sweeper=random", "hydra.sweeper.n_trials=20")
    done = project.cli(*typed, "model.kernel_size=choice(2,4)", "model.pool_size=choice(2,3)", UNITS)
    assert done.returncode == 0, done.stderr
    assert "not run: kernel_size=4 pool_size=3 dense_units=" in done.stdout
    assert "model.pool_size must be 2 or less for the 2 pixels that it pools, got 3" in done.stdout
    points = known_sweeps(project.path)[0].points
    assert 0 < len(points) < 20
    assert all((p.parameters["model.kernel_size"], p.parameters["model.pool_size"]) != (4, 3) for p in points)


def test_a_dry_run_counts_what_is_then_trained(project):
    typed = (*COMMAND, "train.epochs=1,3", "hydra/sweeper=tpe", "hydra.sweeper.batch_size=6")
    printed = project.cli(*typed, "hydra.sweeper.keep_ties=false", "--dry-run").stdout
    assert "16 runs to run on 1 worker: 20 epochs to train" in printed
    assert "at least 20 and at most 36 epochs to train" in project.cli(*typed, "--dry-run").stdout
    search(project, *typed, "hydra.sweeper.keep_ties=false")
    assert sum(trained_epochs(project.path)) == 20
    assert "0 epochs to train" in project.cli(*typed, "hydra.sweeper.keep_ties=false", "--dry-run").stdout


def test_without_optuna_the_way_out_is_named(project, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    done = project.cli(*COMMAND, "hydra/sweeper=tpe")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "this search needs Optuna: pip install 'epochwise[optuna]'" in done.stderr
