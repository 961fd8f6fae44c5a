"""The leaderboard as text, from run directories made by hand."""

import csv
import io
import json
from dataclasses import replace

import pytest
from made_sweeps import bare_project, finish, make_sweep, point, twin_of  # noqa: F401

from epochwise.sweeps.leaderboard import make_leaderboard
from epochwise.sweeps.table import as_text, cells, digest, footer, print_leaderboard, rows

pytestmark = pytest.mark.usefixtures("bare_project")


@pytest.fixture
def leaderboard(tmp_path):
    """Of four runs of two trajectories."""
    grid = [(e, d) for e in (2, 4) for d in (0.25, 0.5)]
    points = [point(job, train__epochs=e, model__dense_dropout=d) for job, (e, d) in enumerate(grid)]
    sweep = make_sweep(tmp_path, ["train.epochs", "model.dense_dropout"], *points)
    for job, (epochs, dropout) in enumerate(grid):
        costs = {"trajectory_seconds": 10.0 * epochs}
        finish(sweep.folder / str(job), job, 0.9 + job / 100, trajectory=str(dropout), epochs=epochs, **costs)
    return make_leaderboard(tmp_path, sweep)


def test_csv_has_a_row_for_each_setting(leaderboard):
    found = list(csv.DictReader(io.StringIO(as_text(leaderboard, "csv"))))
    assert [(row["train.epochs"], row["model.dense_dropout"]) for row in found][0] == ("4", "0.5")
    assert [row["rank"] for row in found] == list("1234") and found[0]["runs"] == "run3"


def test_json_has_full_precision_and_what_is_not_finished(leaderboard, tmp_path):
    content = json.loads(as_text(leaderboard, "json"))
    assert list(content) == ["sweep", "validation", "rows", "beside_best", "notes", "failed", "not_run"]
    assert content["rows"][0]["val_accuracy"] == pytest.approx(0.93)
    metrics = ("val_accuracy", "val_loss", "best_epoch", "best_val_accuracy", "test_accuracy", "test_loss")
    assert list(content["rows"][0]) == [
        *("rank", "train.epochs", "model.dense_dropout", "epochs", "n"),
        *(key for metric in metrics for key in (metric, f"{metric}_sd")),
        *("epochs_trained", "epochs_reused", "train_seconds", "trajectory_seconds", "runs"),
    ]
    failing = make_sweep(tmp_path, ["seed"], *(point(job, seed=job) for job in (7, 8)), failures={7: "boom"})
    content = json.loads(as_text(make_leaderboard(tmp_path, failing), "json"))
    assert content["failed"] == {"seed=7": "boom"} and content["not_run"] == ["seed=8"]


def test_markdown_is_the_table_and_its_footer(leaderboard):
    markdown = as_text(leaderboard, "markdown").splitlines()
    assert markdown[0].startswith("|  | epochs | dense_dropout | val_accuracy |")
    assert markdown[2].startswith("| 1 | 4 | 0.5")
    assert [line for line in markdown if line and not line.startswith("|")] == footer(leaderboard)


def test_shared_epochs_cost_once(leaderboard):
    assert footer(leaderboard)[1] == (
        "the runs consist of 8 epochs if those in common count once; trained one by one: 12 epochs, 120 s of training"
    )
    without_reuse = replace(leaderboard, sweep=replace(leaderboard.sweep, reuse=False))
    assert footer(without_reuse)[1] == "the runs consist of 12 epochs, 120 s of training"


def test_epochs_of_which_none_are_in_common_are_said_once(tmp_path):
    """Each of these runs has a trajectory of its own."""
    sweep = make_sweep(tmp_path, ["seed"], point(0, seed=0), point(1, seed=1))
    for job in (0, 1):
        finish(sweep.folder / str(job), job, 0.9, 0.9, epochs=job + 1)
    own = replace(make_leaderboard(tmp_path, sweep), sweep=replace(sweep, reuse=True))
    (said,) = (line for line in footer(own) if "consist of" in line)
    assert said.startswith("the runs consist of 3 epochs, ") and "common" not in said


def test_without_runs_there_is_no_row(tmp_path, capsys):
    leaderboard = make_leaderboard(tmp_path, make_sweep(tmp_path, ["seed"], point(0, seed=0)))
    assert as_text(leaderboard, "csv") == "rank\n"
    print_leaderboard(leaderboard)
    assert capsys.readouterr().out.splitlines() == [
        "not run yet: seed=0; the same command runs what is missing",
        "files multirun/day/time",
    ]


def test_a_list_is_one_cell(tmp_path):
    sweep = make_sweep(tmp_path, ["model.filters"], *(point(job, model__filters=[job, 16]) for job in range(2)))
    for job in range(2):
        finish(sweep.folder / str(job), job, 0.9 + job / 100)
    assert rows(make_leaderboard(tmp_path, sweep))[0]["model.filters"] == "1 16"


def test_a_test_set_that_serves_as_validation_set_is_not_fit_for_choosing(tmp_path):
    sweep = make_sweep(tmp_path, ["seed"], point(0, seed=0), validates_on_test=True)
    finish(sweep.folder / "0", 0)
    leaderboard = make_leaderboard(tmp_path, sweep)
    assert "not fit for choosing" in footer(leaderboard)[0]
    assert json.loads(as_text(leaderboard, "json"))["validation"] == "the test set"


def test_points_that_are_the_same_run_are_named(tmp_path):
    sweep = make_sweep(tmp_path, [], point(0, seed=0), twin_of(point(0), 1, "the same"))
    assert "the same run: seed=0, the same" in footer(make_leaderboard(tmp_path, sweep))


def test_the_digest_changes_with_what_the_leaderboard_says(leaderboard, tmp_path):
    before = digest(leaderboard)
    assert digest(make_leaderboard(tmp_path, leaderboard.sweep)) == before
    (leaderboard.sweep.folder / "0" / "run.json").unlink()
    assert digest(make_leaderboard(tmp_path, leaderboard.sweep)) != before


@pytest.mark.parametrize("width, shown", [(200, True), (80, False), (60, False), (40, False)])
def test_a_narrow_terminal_gets_fewer_columns_and_whole_values(tmp_path, capsys, monkeypatch, width, shown):
    points = point(0, model__dense_dropout=0.5), point(1, model__dense_dropout=0.75)
    sweep = make_sweep(
        tmp_path, ["model.dense_dropout"], *points, failures={1: "[/job:cpu] [bold]"}, link="http://runs"
    )
    finish(sweep.folder / "0", 0)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    print_leaderboard(make_leaderboard(tmp_path, sweep))
    printed = capsys.readouterr().out
    assert "0.9000" in printed and "dense_dropout" in printed
    assert ("val_loss" in printed.partition("not shown at this width")[0]) == shown
    assert "failed: dense_dropout=0.75: [/job:cpu] [bold]" in printed
    assert printed.splitlines()[-2] == "runs http://runs  (after: make ui)" and "\ncurves http://runs" in printed
    assert ("not shown at this width: val_loss" in printed) != shown


def test_what_a_row_of_several_seeds_holds_is_said(tmp_path):
    sweep = make_sweep(tmp_path, ["seed"], point(0, seed=0), point(1, seed=1))
    finish(sweep.folder / "0", 0)
    assert not any("± standard deviation" in line for line in footer(make_leaderboard(tmp_path, sweep)))
    finish(sweep.folder / "1", 1)
    assert any("± standard deviation" in line for line in footer(make_leaderboard(tmp_path, sweep)))


@pytest.mark.parametrize("source, said", [("digits", True), ("mnist", False)])
def test_that_the_best_setting_was_found_on_other_data_is_said(tmp_path, capsys, source, said):
    read_as = "test_size: 0, pixel_max: 0, image_size: 0, transpose: false"
    (tmp_path / "params.yaml").write_text(f"prepare: {{source: mnist, validation_size: 300, {read_as}}}")
    sweep = make_sweep(tmp_path, ["seed"], point(0, seed=0, prepare__source=source))
    finish(sweep.folder / "0", 0)
    print_leaderboard(make_leaderboard(tmp_path, sweep))
    line = "its data is not that of params.yaml but prepare.source=digits; --params --data takes that, too"
    assert (line in capsys.readouterr().out.splitlines()) == said


def test_a_damaged_file_of_one_run_of_a_search_leaves_the_leaderboard(tmp_path):
    """What was decided is then not shown, and the reason is."""
    points = [point(job, model__dense_dropout=job / 10, train__epochs=1) for job in range(2)]
    search = {"proposals": "grid", "rungs": [1, 2], "eta": 2, "keep_ties": True, "candidates": ""}
    sweep = make_sweep(tmp_path, ["train.epochs", "model.dense_dropout"], *points, search=search)
    for job in range(2):
        finish(sweep.folder / str(job), job, 0.9, epochs=1)
        (sweep.folder / str(job) / "validation_predictions.csv").write_text("actual,predicted\n1")
    leaderboard = make_leaderboard(tmp_path, sweep)
    assert len(leaderboard.settings) == 2 and leaderboard.decisions == []
    assert any("which settings went on is not shown: " in line for line in footer(leaderboard))


@pytest.fixture
def patient(tmp_path):
    """Two settings with two seeds each; one of the four runs was ended by its patience."""
    grid = [(d, seed) for d in (0.25, 0.5) for seed in (0, 1)]
    points = [
        point(job, model__dense_dropout=d, seed=seed, train__epochs=9, train__patience=2)
        for job, (d, seed) in enumerate(grid)
    ]
    sweep = make_sweep(tmp_path, ["model.dense_dropout", "seed"], *points)
    for job, epochs in enumerate((9, 9, 9, 5)):
        finish(sweep.folder / str(job), job, 0.9 + job / 100, epochs=epochs, train_seconds=10.0 * epochs)
    return make_leaderboard(tmp_path, sweep)


def test_epochs_are_those_that_were_trained(patient):
    heads, lines = cells(patient)
    assert [line[heads.index("epochs")] for line in lines] == ["5…9", "9"]
    assert [row["epochs"] for row in rows(patient)] == [7, 9]
    assert [line for line in footer(patient) if "train.patience" in line] == [
        "1 of 4 runs ended before train.epochs, for val_accuracy had not risen for train.patience epochs"
    ]
    on_test = replace(patient, sweep=replace(patient.sweep, validates_on_test=True))
    assert any("val_accuracy, measured on the test set, had not risen" in line for line in footer(on_test))


def test_epochs_that_were_asked_for_stand_beside_those_that_were_trained(tmp_path):
    points = [point(job, train__epochs=epochs, train__patience=2) for job, epochs in enumerate((4, 9))]
    sweep = make_sweep(tmp_path, ["train.epochs"], *points)
    for job, epochs in enumerate((4, 6)):
        finish(sweep.folder / str(job), job, 0.9 - job / 100, epochs=epochs)
    heads, lines = cells(make_leaderboard(tmp_path, sweep))
    assert heads[1:3] == ["train.epochs", "epochs"]
    assert [line[1:3] for line in lines] == [["4", "4"], ["9", "6"]]


def test_the_runs_of_each_setting_are_unfolded(patient):
    heads, lines = cells(patient, unfolded=True)
    shown = [heads.index(name) for name in ("", "dense_dropout", "epochs", "n", "seed", "val_accuracy", "time", "run")]
    assert [[line[index] for index in shown] for line in lines] == [
        ["1", "0.5", "5…9", "2", "", "0.9250 ± 0.0071", "140 s", "run3"],
        ["", "", "5", "", "1", "0.9300", "50 s", "run3"],
        ["", "", "9", "", "0", "0.9200", "90 s", "run2"],
        ["2", "0.25", "9", "2", "", "0.9050 ± 0.0071", "180 s", "run1"],
        ["", "", "9", "", "1", "0.9100", "90 s", "run1"],
        ["", "", "9", "", "0", "0.9000", "90 s", "run0"],
    ]
    assert cells(patient)[1] == [[*line[:4], *line[5:]] for line in lines if line[0]]
    assert as_text(patient, "markdown", seeds=True).count("\n| ") == 1 + 6


def test_unfolded_csv_and_json_have_each_run_in_full_precision(patient):
    found = list(csv.DictReader(io.StringIO(as_text(patient, "csv", seeds=True))))
    assert [(row["rank"], row["seed"], row["n"], row["epochs"], row["runs"]) for row in found[:3]] == [
        ("1", "", "2", "7.0", "run3 run2"),
        ("1", "1", "1", "5", "run3"),
        ("1", "0", "1", "9", "run2"),
    ]
    assert float(found[1]["val_accuracy"]) == pytest.approx(0.93) and found[1]["val_accuracy_sd"] == ""
    plain, unfolded = (json.loads(as_text(patient, "json", seeds)) for seeds in (False, True))
    seeds = [row.pop("seeds") for row in unfolded["rows"]]
    assert unfolded == plain
    assert [(run["seed"], run["run"], run["epochs"]) for run in seeds[0]] == [(1, "run3", 5), (0, "run2", 9)]


def test_a_setting_with_one_run_is_its_own_row(leaderboard):
    heads, lines = cells(leaderboard, unfolded=True)
    assert [line[0] for line in lines] == list("1234")
    assert {line[heads.index("seed")] for line in lines} == {"0"}
