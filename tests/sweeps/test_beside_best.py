"""Beside the best setting: which others cannot be told apart from it, and which were not compared."""

import json

import pytest
from made_sweeps import bare_project, finish, make_search, make_sweep, point, predict  # noqa: F401

from epochwise.sweeps import beside_best, leaderboard_files
from epochwise.sweeps.leaderboard import Leaderboard, make_leaderboard
from epochwise.sweeps.record import SweepRecord
from epochwise.sweeps.table import as_text, footer

pytestmark = pytest.mark.usefixtures("bare_project")

ONE_SEED = "McNemar's exact test, p of 0.05 or more"


def sweep_of(root, correct: list[int], seeds: int = 1, **more) -> SweepRecord:
    """A setting for each number of images that its runs classify correctly: dropout 0.0, 0.1 and so on."""
    grid = [(place, seed) for place in range(len(correct)) for seed in range(seeds)]
    points = [point(job, model__dense_dropout=place / 10, seed=seed) for job, (place, seed) in enumerate(grid)]
    sweep = make_sweep(root, ["model.dense_dropout", "seed"][: 1 + (seeds > 1)], *points, **more)
    for job, (place, _) in enumerate(grid):
        finish(sweep.folder / str(job), job, correct[place] / 300)
        predict(sweep.folder / str(job), correct[place])
    return sweep


def line(leaderboard: Leaderboard) -> str:
    """What is said about the settings below the best one."""
    (found,) = [line for line in footer(leaderboard) if "the best" in line and not line.startswith("to make")]
    return found


def test_settings_within_chance_of_the_best_are_named_with_their_p_values(tmp_path):
    """Seven images that only the better one classifies correctly (p = 1/64) are more than chance in 3 comparisons."""
    leaderboard = make_leaderboard(tmp_path, sweep_of(tmp_path, [280, 275, 273, 280]))
    expected = (
        "2 of 3 other settings cannot be told apart from the best one (McNemar's exact test, corrected for 3 "
        "comparisons, p of 0.05 or more): dense_dropout=0.3 (p = 1.00); dense_dropout=0.1 (p = 0.12)"
    )
    assert line(leaderboard) == expected
    assert expected in as_text(leaderboard, "markdown")
    content = json.loads(as_text(leaderboard, "json"))
    assert content["beside_best"]["p_values"] == pytest.approx({"2": 1.0, "3": 2 / 16, "4": 3 / 64})
    assert content["beside_best"]["not_compared"] == {}
    assert expected in content["notes"]
    assert expected in leaderboard_files.write_report(leaderboard).read_text().replace("&#39;", "'")


def test_a_best_setting_that_stands_alone_is_said_to(tmp_path):
    said = line(make_leaderboard(tmp_path, sweep_of(tmp_path, [280, 250, 100])))
    assert said == (
        "the best setting differs from 2 other settings by more than chance (McNemar's exact test, corrected for 2 "
        "comparisons, p below 0.05)"
    )


def test_what_is_chance_in_one_of_many_comparisons_is_no_difference(tmp_path):
    """Six images (p = 1/32) would be a difference if this were the only other setting."""
    assert make_leaderboard(tmp_path, sweep_of(tmp_path, [280, 274])).beside_best.within_chance == {}
    found = make_leaderboard(tmp_path, sweep_of(tmp_path, [280, 274, 274, 274])).beside_best
    assert found.within_chance == pytest.approx(dict.fromkeys((2, 3, 4), 3 / 32))


def test_over_seeds_it_is_another_test_and_settings_need_as_many(tmp_path):
    sweep = sweep_of(tmp_path, [280, 279, 278], seeds=2)
    (sweep.folder / "5" / "run.json").unlink()
    said = line(make_leaderboard(tmp_path, sweep))
    assert said.startswith(
        "1 of 1 other setting cannot be told apart from the best one (exact sign-flip test over images and Welch's "
        "test over 2 seeds each, p of 0.05 or more): dense_dropout=0.1 (p = 1.00)"
    )
    assert said.endswith("; not compared with the best one (n is 1 and not 2): dense_dropout=0.2")


def test_what_cannot_be_compared_is_named_with_the_reason(tmp_path):
    sweep = sweep_of(tmp_path, [280, 279, 278, 277, 276])
    (sweep.folder / "1" / "validation_predictions.csv").unlink()
    (sweep.folder / "2" / "validation_predictions.csv").unlink()
    predict(sweep.folder / "3", 3)
    said = line(make_leaderboard(tmp_path, sweep))
    assert said.startswith("1 of 1 other setting cannot be told apart from the best one")
    assert "(no predictions of validation images were kept): dense_dropout=0.1; dense_dropout=0.2" in said
    assert "(a file is damaged: " in said and "validation_predictions.csv: is not of the run beside it" in said
    (sweep.folder / "0" / "validation_predictions.csv").unlink()
    said = line(make_leaderboard(tmp_path, sweep))
    assert said == (
        "not compared with the best one (for the best one: no predictions of validation images were kept): "
        "dense_dropout=0.1; dense_dropout=0.2; dense_dropout=0.3; dense_dropout=0.4"
    )


def test_only_the_next_best_settings_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(beside_best, "MAX_COMPARED", 2)
    said = line(make_leaderboard(tmp_path, sweep_of(tmp_path, [280, 279, 278, 277, 276])))
    assert said.startswith("2 of 2 other settings cannot be told apart")
    assert said.endswith("; 2 settings further below were not compared")


def test_of_a_search_only_settings_of_the_same_rung_are_compared(tmp_path):
    said = line(make_leaderboard(tmp_path, make_search(tmp_path)))
    assert said == (
        f"1 of 1 other setting of this rung (2 epochs) cannot be told apart from the best one ({ONE_SEED}): "
        "dense_dropout=0.2 dense_units=129 (p = 1.00)"
    )


def test_a_single_setting_is_compared_with_nothing(tmp_path):
    leaderboard = make_leaderboard(tmp_path, sweep_of(tmp_path, [280], seeds=3))
    assert not any("the best" in line for line in footer(leaderboard) if not line.startswith("to make"))
