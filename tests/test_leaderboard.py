"""The leaderboard, from run directories made by hand: ranks, spreads, gaps, forms and pictures."""

import csv
import io
import json

import pytest
from conftest import A_RECORD

from epochwise.common.files import write_json
from epochwise.sweeps import leaderboard
from epochwise.sweeps import record as sweepdir
from epochwise.sweeps.record import Point, Sweep
from epochwise.training import history

PARAMETERS = {"seed": 0, "prepare.validation_size": 300, "model.dense_dropout": 0.5, "train.epochs": 2}


def point(job, **different):
    parameters = PARAMETERS | {key.replace("__", "."): value for key, value in different.items()}
    name = " ".join(f"{key.split('__')[-1]}={value}" for key, value in different.items())
    return Point(job, name, [], parameters, f"fingerprint {job}", "data")


def finish(folder, number, val_accuracy, test_accuracy=0.9, val_loss=0.1, trajectory=None, epochs=2):
    """A finished run's directory, as far as a leaderboard reads it."""
    folder.mkdir(parents=True)
    rows = [
        dict(zip(history.COLUMNS, (e, 0.2, 0.8, val_loss, val_accuracy), strict=True)) for e in range(1, epochs + 1)
    ]
    history.write(rows, folder / "history.csv")
    write_json(folder / "metrics.json", history.summary(rows) | {"test_loss": 0.1, "test_accuracy": test_accuracy})
    about = {"run_id": f"run{number}", "fingerprint": f"fingerprint {number}", "epochs": epochs}
    write_json(folder / "run.json", A_RECORD | about | {"trajectory": trajectory or str(number)})
    for name in ("config.yaml", "model.keras"):
        (folder / name).touch()


@pytest.fixture
def make(tmp_path):
    """A sweep of these points, run in tmp_path/multirun/day/time."""

    def sweep(varied, *points, **more):
        folder = tmp_path / "multirun/day/time"
        folder.mkdir(parents=True, exist_ok=True)
        about = {"validates_on_test": False, "reuse": True} | more
        made = Sweep(folder, "day_time", "epochwise run -m …", "epochwise", varied, list(points), **about)
        made.write()
        return sweepdir.read(folder)

    return sweep


def board_of(tmp_path, sweep):
    return leaderboard.make(tmp_path, sweep)


def test_settings_are_ranked_by_validation_and_never_by_the_test_set(make, tmp_path):
    sweep = make(
        ["model.dense_dropout"], *(point(job, model__dense_dropout=d) for job, d in enumerate((0.1, 0.2, 0.3)))
    )
    finish(sweep.folder / "0", 0, val_accuracy=0.97, test_accuracy=0.99)
    finish(sweep.folder / "1", 1, val_accuracy=0.98, test_accuracy=0.95, val_loss=0.2)
    finish(sweep.folder / "2", 2, val_accuracy=0.98, test_accuracy=0.96, val_loss=0.1)
    board = board_of(tmp_path, sweep)
    assert [row.setting["model.dense_dropout"] for row in board.rows] == [0.3, 0.2, 0.1], "equals by val_loss"
    assert board.best.record["run_id"] == "run2"
    assert "epochwise promote run2 --params && dvc repro" in leaderboard.foot(board)[-1]


def test_seeds_of_a_setting_are_one_row_with_mean_and_deviation(make, tmp_path):
    grid = [(seed, d) for d in (0.25, 0.5) for seed in (0, 1, 2)]
    points = [point(job, seed=seed, model__dense_dropout=d) for job, (seed, d) in enumerate(grid)]
    sweep = make(["seed", "model.dense_dropout"], *points)
    for job, val_accuracy in enumerate((0.90, 0.92, 0.94, 0.99, 0.91, 0.92)):
        if job != 5:
            finish(sweep.folder / str(job), job, val_accuracy)
    board = board_of(tmp_path, sweep)
    first, second = leaderboard.records(board)
    assert (first["model.dense_dropout"], first["n"], second["n"]) == (0.5, 2, 3)
    assert (second["val_accuracy"], second["val_accuracy_sd"]) == (pytest.approx(0.92), pytest.approx(0.02))
    assert first["train_seconds"] == 3.0 and first["runs"] == ["run3", "run4"], "sums over runs, the best run first"
    assert board.missing == ["seed=2 dense_dropout=0.5"]
    heads, lines = leaderboard.cells(board)
    assert lines[1][heads.index("val_accuracy")] == "0.9200 ± 0.0200" and lines[1][heads.index("n")] == "3"


def test_what_failed_and_what_is_missing_is_told(make, tmp_path):
    points = [point(job, seed=job) for job in range(3)]
    sweep = make(["seed"], *points, failures={"1": "ValueError: boom"})
    finish(sweep.folder / "0", 0, 0.9)
    (sweep.folder / "1").mkdir()
    (sweep.folder / "1" / "run.log").touch()
    board = board_of(tmp_path, sweep)
    said = "\n".join(leaderboard.foot(board))
    assert "failed: seed=1: ValueError: boom (log: multirun/day/time/1/run.log)" in said
    assert "not run yet: seed=2" in said
    told = json.loads(leaderboard.text(board, "json"))
    assert list(told["failed"]) == ["seed=1"] and told["not_run"] == ["seed=2"]


def test_a_failure_that_was_made_good_is_none(make, tmp_path):
    sweep = make(["seed"], point(0, seed=0), failures={"0": "ValueError: boom"})
    finish(sweep.folder / "0", 0, 0.9)
    assert board_of(tmp_path, sweep).failures == []


def test_nothing_finished_is_a_board_without_rows(make, tmp_path):
    board = board_of(tmp_path, make(["seed"], point(0, seed=0)))
    leaderboard.write(board)
    assert board.best is None and leaderboard.text(board, "csv") == "rank\n"
    assert {path.suffix for path in board.files} == {".csv", ".json", ".md"}
    leaderboard.show(board)


def test_runs_of_other_sweeps_count_if_they_are_the_same(make, tmp_path):
    sweep = make(["seed"], point(0, seed=0), point(1, seed=1))
    finish(tmp_path / "outputs/day/time", 0, 0.9)
    finish(tmp_path / "multirun/another day/time/7", 1, 0.8)
    assert [row.results[0].folder.name for row in board_of(tmp_path, sweep).rows] == ["time"], "two seeds, one setting"
    assert len(board_of(tmp_path, sweep).rows[0].results) == 2
    alone = make(["seed"], point(0, seed=0), reuse=False)
    assert board_of(tmp_path, alone).rows == [], "that run had taken an epoch from another"


def test_an_unfinished_or_incomplete_run_does_not_count(make, tmp_path):
    sweep = make(["seed"], *(point(job, seed=job) for job in range(3)))
    for job in range(3):
        finish(sweep.folder / str(job), job, 0.9)
    (sweep.folder / "0" / "metrics.json").unlink()
    write_json(sweep.folder / "1" / "run.json", A_RECORD | {"status": "KILLED", "fingerprint": "fingerprint 1"})
    (sweep.folder / "2" / "run.json").write_text("{torn")
    assert board_of(tmp_path, sweep).rows == []


def test_two_points_that_are_one_run_are_one_row(make, tmp_path):
    sweep = make([], point(0), Point(1, "the same", [], PARAMETERS, "fingerprint 0", "data"))
    finish(sweep.folder / "0", 0, 0.9)
    board = board_of(tmp_path, sweep)
    assert len(board.rows) == 1 and len(board.rows[0].results) == 1 and not board.missing


def test_a_test_set_that_is_the_validation_is_told(make, tmp_path):
    sweep = make(["seed"], point(0, seed=0), validates_on_test=True)
    finish(sweep.folder / "0", 0, 0.9)
    assert "not fit for choosing" in leaderboard.foot(board_of(tmp_path, sweep))[0]


def test_forms_and_pictures(make, tmp_path):
    grid = [(e, d) for e in (2, 4) for d in (0.25, 0.5)]
    points = [point(job, train__epochs=e, model__dense_dropout=d) for job, (e, d) in enumerate(grid)]
    sweep = make(["train.epochs", "model.dense_dropout"], *points)
    for job, (epochs, dropout) in enumerate(grid):
        finish(sweep.folder / str(job), job, 0.9 + job / 100, trajectory=str(dropout), epochs=epochs)
    board = board_of(tmp_path, sweep)
    leaderboard.write(board)
    assert [path.name for path in board.files] == [
        "leaderboard.csv",
        "leaderboard.json",
        "leaderboard.md",
        "curves.png",
        "heat_map.png",
    ]
    rows = list(csv.DictReader(io.StringIO((sweep.folder / "leaderboard.csv").read_text())))
    assert [(row["train.epochs"], row["model.dense_dropout"]) for row in rows][0] == ("4", "0.5")
    assert [row["rank"] for row in rows] == list("1234") and rows[0]["runs"] == "run3"
    assert json.loads((sweep.folder / "leaderboard.json").read_text())["rows"][0]["val_accuracy"] == pytest.approx(0.93)
    markdown = (sweep.folder / "leaderboard.md").read_text().splitlines()
    assert markdown[0].startswith("|  | epochs | dense_dropout | val_accuracy |") and markdown[2].startswith(
        "| 1 | 4 | 0.5"
    )
    lines = leaderboard._lines(board)
    assert [(label, ends) for label, _, ends in lines] == [
        ("dense_dropout=0.5", [2, 4]),
        ("dense_dropout=0.25", [2, 4]),
    ]


def test_which_sweep_is_compared(make, tmp_path):
    with pytest.raises(sweepdir.InputError, match="none in multirun"):
        sweepdir.find(tmp_path, None)
    sweep = make(["seed"], point(0, seed=0))
    for wanted in (None, "day_time", "multirun/day/time"):
        assert sweepdir.find(tmp_path, wanted).id == sweep.id
    with pytest.raises(sweepdir.InputError, match="no sweep nonsense; there is day_time"):
        sweepdir.find(tmp_path, "nonsense")


def test_lists_can_be_swept_beside_another_key(make, tmp_path):
    grid = [(filters, e) for filters in ([8, 16], [16, 32]) for e in (1, 2)]
    sweep = make(
        ["model.filters", "train.epochs"],
        *(point(job, model__filters=filters, train__epochs=e) for job, (filters, e) in enumerate(grid)),
    )
    for job in range(4):
        finish(sweep.folder / str(job), job, 0.9 + job / 100)
    board = board_of(tmp_path, sweep)
    leaderboard.write(board)
    assert (sweep.folder / "heat_map.png").is_file()
    assert leaderboard.records(board)[0]["model.filters"] == "16 32"


def test_a_rerun_counts_its_own_runs_only(make, tmp_path):
    finish(tmp_path / "outputs/day/time", 0, 0.9)
    sweep = make(["seed"], point(0, seed=0), rerun=True, failures={"0": "boom"})
    assert board_of(tmp_path, sweep).failures == [("seed=0", "boom")]


def test_the_twin_of_a_failed_point_has_failed_and_so_has_what_another_launcher_ran(make, tmp_path):
    twin = Point(1, "twin", [], PARAMETERS, "fingerprint 0", "data")
    sweep = make(["seed"], point(0, seed=0), twin, point(2, seed=2), failures={"0": "boom"})
    write_json(sweep.folder / "2" / "run.json", A_RECORD | {"status": "FAILED"})
    board = board_of(tmp_path, sweep)
    assert board.failures == [("seed=0", "boom"), ("twin", "boom"), ("seed=2", "FAILED")] and not board.missing


@pytest.mark.parametrize("width, shown", [(200, True), (80, False)])
def test_a_narrow_terminal_gets_fewer_columns_and_whole_values(make, tmp_path, capsys, monkeypatch, width, shown):
    points = point(0, model__dense_dropout=0.5), point(1, model__dense_dropout=0.75)
    sweep = make(["model.dense_dropout"], *points, failures={"1": "[/job:cpu] [bold]"})
    finish(sweep.folder / "0", 0, 0.9)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    leaderboard.show(board_of(tmp_path, sweep))
    said = capsys.readouterr().out
    assert "0.9000" in said and "dense_dropout" in said
    assert ("val_loss" in said) == shown
    assert "failed: dense_dropout=0.75: [/job:cpu] [bold]" in said
