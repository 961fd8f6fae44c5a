"""The leaderboard, from run directories made by hand: ranks, spreads, what failed and what is missing."""

import pytest
from conftest import A_RECORD
from made_sweeps import bare_project, finish, make_sweep, point, twin_of  # noqa: F401

from epochwise.common.files import read_json, write_json
from epochwise.sweeps.leaderboard import make_leaderboard
from epochwise.sweeps.table import cells, footer, rows

pytestmark = pytest.mark.usefixtures("bare_project")


def test_settings_are_ranked_by_validation_and_never_by_the_test_set(tmp_path):
    rates = enumerate((0.1, 0.2, 0.3))
    sweep = make_sweep(tmp_path, ["model.dense_dropout"], *(point(job, model__dense_dropout=d) for job, d in rates))
    finish(sweep.folder / "0", 0, val_accuracy=0.97, test_accuracy=0.99)
    finish(sweep.folder / "1", 1, val_accuracy=0.98, test_accuracy=0.95, val_loss=0.2)
    finish(sweep.folder / "2", 2, val_accuracy=0.98, test_accuracy=0.96, val_loss=0.1)
    leaderboard = make_leaderboard(tmp_path, sweep)
    ranked = [setting.parameters["model.dense_dropout"] for setting in leaderboard.settings]
    assert ranked == [0.3, 0.2, 0.1], "equals by val_loss"
    assert leaderboard.best.record.run_id == "run2"
    assert "epochwise promote --sweep day_time --params && dvc repro" in footer(leaderboard)[-1]


def test_seeds_of_a_setting_are_one_row_with_mean_and_deviation(tmp_path):
    grid = [(seed, d) for d in (0.25, 0.5) for seed in (0, 1, 2)]
    points = [point(job, seed=seed, model__dense_dropout=d) for job, (seed, d) in enumerate(grid)]
    sweep = make_sweep(tmp_path, ["seed", "model.dense_dropout"], *points)
    for job, val_accuracy in enumerate((0.90, 0.92, 0.94, 0.99, 0.91)):
        finish(sweep.folder / str(job), job, val_accuracy)
    leaderboard = make_leaderboard(tmp_path, sweep)
    first, second = rows(leaderboard)
    assert (first["model.dense_dropout"], first["n"], second["n"]) == (0.5, 2, 3)
    assert (second["val_accuracy"], second["val_accuracy_sd"]) == (pytest.approx(0.92), pytest.approx(0.02))
    assert first["train_seconds"] == 3.0 and first["runs"] == ["run3", "run4"], "sums over runs, the best run first"
    assert [result.record.run_id for result in leaderboard.results] == ["run3", "run4", "run2", "run1", "run0"]
    assert leaderboard.missing == ["seed=2 dense_dropout=0.5"]
    heads, lines = cells(leaderboard)
    assert lines[1][heads.index("val_accuracy")] == "0.9200 ± 0.0200" and lines[1][heads.index("n")] == "3"


def test_what_failed_is_named_with_its_reason_and_its_log(tmp_path):
    sweep = make_sweep(
        tmp_path, ["seed"], *(point(job, seed=job) for job in range(3)), failures={1: "ValueError: boom"}
    )
    finish(sweep.folder / "0", 0)
    (sweep.folder / "1").mkdir()
    (sweep.folder / "1" / "run.log").touch()
    leaderboard = make_leaderboard(tmp_path, sweep)
    assert leaderboard.failures == [("seed=1", "ValueError: boom (log: multirun/day/time/1/run.log)")]
    assert leaderboard.missing == ["seed=2"]
    text = "\n".join(footer(leaderboard))
    assert "failed: seed=1: ValueError: boom (log: multirun/day/time/1/run.log)" in text
    assert "not run yet: seed=2" in text


def test_a_failed_run_that_finished_later_is_no_failure(tmp_path):
    sweep = make_sweep(tmp_path, ["seed"], point(0, seed=0), failures={0: "ValueError: boom"})
    finish(sweep.folder / "0", 0)
    assert make_leaderboard(tmp_path, sweep).failures == []


def test_nothing_finished_is_a_leaderboard_without_rows(tmp_path):
    leaderboard = make_leaderboard(tmp_path, make_sweep(tmp_path, ["seed"], point(0, seed=0)))
    assert leaderboard.best is None and leaderboard.settings == leaderboard.results == []
    assert leaderboard.missing == ["seed=0"]


def test_means_of_as_many_correct_images_are_equal_and_the_loss_decides(tmp_path):
    """The mean of 199 and 201 of 300 is larger in its last bit than that of twice 200."""
    grid = [(dropout, seed) for dropout in (0.1, 0.2) for seed in (0, 1)]
    points = [point(job, model__dense_dropout=dropout, seed=seed) for job, (dropout, seed) in enumerate(grid)]
    sweep = make_sweep(tmp_path, ["model.dense_dropout", "seed"], *points)
    for job, (correct, loss) in enumerate(((199, 0.2), (201, 0.2), (200, 0.1), (200, 0.1))):
        finish(sweep.folder / str(job), job, correct / 300, val_loss=loss)
    assert [row["model.dense_dropout"] for row in rows(make_leaderboard(tmp_path, sweep))] == [0.2, 0.1]


def test_a_setting_of_which_a_seed_diverged_does_not_stand_on_that_rung(tmp_path):
    """The search has dropped it, however good its other seed is."""
    grid = [(epochs, dropout, seed) for epochs in (1, 2) for dropout in (0.1, 0.2) for seed in (0, 1)]
    points = [
        point(job, train__epochs=epochs, model__dense_dropout=dropout, seed=seed)
        for job, (epochs, dropout, seed) in enumerate(grid)
    ]
    search = {"proposals": "grid", "rungs": [1, 2], "eta": 2, "keep_ties": True, "candidates": ""}
    varied = ["train.epochs", "model.dense_dropout", "seed"]
    sweep = make_sweep(tmp_path, varied, *points, search=search, search_ended=True)
    for job, (epochs, dropout, _) in enumerate(grid):
        finish(sweep.folder / str(job), job, 0.99 if dropout == 0.1 else 0.9, epochs=epochs)
    path = sweep.folder / "5" / "run.json"
    write_json(path, read_json(path) | {"status": "FAILED", "failure": "DivergedError: training diverged in epoch 2"})
    leaderboard = make_leaderboard(tmp_path, sweep)
    found = [(row["model.dense_dropout"], row["epochs"], row["n"], row["dropped_at"]) for row in rows(leaderboard)]
    assert found == [(0.2, 2, 2, None), (0.1, 1, 2, 1)]
    assert leaderboard.best.point.parameters["model.dense_dropout"] == 0.2, "which `promote` takes"
    assert [name for name, _ in leaderboard.failures] == ["epochs=2 dense_dropout=0.1 seed=1"]


def test_two_points_that_are_one_run_are_one_row(tmp_path):
    sweep = make_sweep(tmp_path, [], point(0), twin_of(point(0), 1, "the same"))
    finish(sweep.folder / "0", 0)
    leaderboard = make_leaderboard(tmp_path, sweep)
    assert len(leaderboard.settings) == 1 and len(leaderboard.results) == 1 and not leaderboard.missing


def test_a_rerun_counts_its_own_runs_only(tmp_path):
    finish(tmp_path / "outputs/day/time", 0)
    sweep = make_sweep(tmp_path, ["seed"], point(0, seed=0), rerun=True, failures={0: "boom"})
    assert make_leaderboard(tmp_path, sweep).failures == [("seed=0", "boom")]


def test_the_twin_of_a_failed_point_has_failed_and_so_has_what_another_launcher_ran(tmp_path):
    points = point(0, seed=0), twin_of(point(0), 1, "twin"), point(2, seed=2)
    sweep = make_sweep(tmp_path, ["seed"], *points, failures={0: "boom"})
    write_json(sweep.folder / "2" / "run.json", A_RECORD | {"status": "FAILED"})
    leaderboard = make_leaderboard(tmp_path, sweep)
    assert leaderboard.failures == [("seed=0", "boom"), ("twin", "boom"), ("seed=2", "FAILED")]
    assert not leaderboard.missing
