"""Which settings go on to the next rung: by rank, and within chance of the last one that does."""

import shutil
from dataclasses import replace
from statistics import fmean

import numpy as np
import pytest
from made_sweeps import finish, make_sweep, point, predict

from epochwise.common.errors import InputError
from epochwise.common.files import read_json, write_json
from epochwise.sweeps.halving import (
    Decision,
    Entry,
    by_setting,
    decide,
    dropped_settings,
    kept,
    read_rung,
    setting_key,
    unfinished,
)


def entry(name: str, correct: int, val_loss: float = 0.1, images: int = 300, **more) -> Entry:
    """A setting that classifies the first `correct` images correctly."""
    made = Entry(name, [point(0)], correct / images, val_loss, np.arange(images)[None] < correct)
    return replace(made, **more)


def decided(entries: list[Entry], keep: int, keep_ties: bool = True):
    return decide(entries, [], keep, keep_ties, bracket=0, epochs=1)


@pytest.mark.parametrize(
    "settings, eta, expected", [(27, 3, [9, 3, 1, 1]), (10, 3, [3, 1, 1]), (2, 3, [1, 1]), (16, 2, [8, 4, 2, 1])]
)
def test_how_many_go_on(settings, eta, expected):
    assert [kept(settings, eta, rung) for rung in range(1, len(expected) + 1)] == expected


def test_the_best_go_on_by_accuracy_then_by_loss_then_in_their_order():
    entries = [entry("a", 200), entry("b", 280, 0.2), entry("c", 280, 0.1), entry("d", 280, 0.2), entry("e", 100)]
    decision = decided(entries, 3, keep_ties=False)
    assert [one.key for one in decision.ranked] == ["c", "b", "d", "a", "e"]
    assert decision.promoted == decision.best == ["c", "b", "d"] and not decision.ties


def test_means_over_seeds_are_equal_if_they_are_of_as_many_images():
    """199 and 201 of 300 are as many as twice 200, though the mean of these shares is larger in its last bit."""
    twice, apart = fmean([200 / 300, 200 / 300]), fmean([199 / 300, 201 / 300])
    assert apart > twice
    entries = [entry("higher loss", 200, 0.2, val_accuracy=apart), entry("lower loss", 200, 0.1, val_accuracy=twice)]
    assert decided(entries, 1, keep_ties=False).promoted == ["lower loss"]


def test_settings_within_chance_of_the_cut_go_on_too():
    """Five images that only the better one classifies correctly are chance (p = 1/16), six are not (p = 1/32)."""
    entries = [entry("best", 290), entry("cut", 280), entry("near", 275), entry("far", 274)]
    decision = decided(entries, 2)
    assert (decision.best, decision.ties) == (["best", "cut"], {"near": pytest.approx(1 / 16)})
    assert decision.promoted == ["best", "cut", "near"]
    assert decided(entries, 2, keep_ties=False).promoted == ["best", "cut"]


def test_settings_that_cannot_be_compared_image_by_image_go_by_rank_and_are_named():
    entries = [entry("cut", 280), replace(entry("earlier", 280), correct=None), entry("near", 279)]
    other_data = entry("other", 279, points=[replace(point(1), data_sha256="other data")])
    decision = decided([*entries, other_data], 1)
    assert (decision.promoted, decision.untested) == (["cut", "near"], ["earlier", "other"])


def test_a_setting_is_all_but_seed_and_epochs():
    points = [point(0, seed=0), point(1, seed=1), point(2, seed=0, train__epochs=9), point(3, model__dense_dropout=0.1)]
    assert [len(own) for own in by_setting(points).values()] == [3, 1]
    assert setting_key(points[0].parameters) == setting_key(points[2].parameters)


def test_a_point_that_is_there_twice_counts_once(tmp_path):
    """A run that counts twice would be right twice as often as that of a setting whose value was typed once."""
    points = [point(job, model__dense_dropout=dropout) for job, dropout in enumerate((0.1, 0.5, 0.5))]
    points[2] = replace(points[2], fingerprint=points[1].fingerprint)
    sweep = make_sweep(tmp_path, ["model.dense_dropout"], *points)
    for number, correct in enumerate((280, 279)):
        finish(sweep.folder / str(number), number, correct / 300)
        predict(sweep.folder / str(number), correct)
    entries, _ = read_rung(tmp_path, sweep, points)
    assert [len(one.points) for one in entries] == [1, 1]
    assert list(decided(entries, 1).ties.values()) == [1.0]


def test_a_setting_counts_with_the_mean_of_its_seeds_and_each_of_them_by_its_images(tmp_path):
    points = [point(0, seed=0), point(1, seed=1)]
    sweep = make_sweep(tmp_path, ["seed"], *points)
    for number, correct in enumerate((2, 3)):
        folder = sweep.folder / str(number)
        finish(folder, number, correct / 4)
        predict(folder, correct, images=4)
    ((one,), diverged) = read_rung(tmp_path, sweep, points)
    assert (one.val_accuracy, diverged) == (0.625, [])
    assert one.correct.astype(int).tolist() == [[1, 1, 0, 0], [1, 1, 1, 0]]


@pytest.mark.parametrize("recorded", [True, False])
def test_a_file_that_lacks_its_end_costs_no_traceback(tmp_path, recorded):
    """Ten images fewer, all of them correct, are as likely a share of correct ones after rounding."""
    points = [point(job, model__dense_dropout=job / 10) for job in range(2)]
    sweep = make_sweep(tmp_path, ["model.dense_dropout"], *points)
    meta = {"image_shape": [8, 8, 1], "classes": 10, "prepare": {"source": "digits"}, "validation_images": 300}
    more = {"mlflow": {"dataset": {"meta": meta}}} if recorded else {}
    for number, images in enumerate((300, 290)):
        finish(sweep.folder / str(number), number, 297 / 300, **more)
        predict(sweep.folder / str(number), 297 - 300 + images, images)
    if recorded:
        with pytest.raises(InputError, match=r"1/validation_predictions.csv: has 290 of 300 images; remove it, or"):
            read_rung(tmp_path, sweep, points)
    else:
        entries, _ = read_rung(tmp_path, sweep, points)
        assert decided(entries, 1).untested == [entries[1].key]


def test_a_run_that_diverged_has_ended_and_one_that_failed_otherwise_has_not(tmp_path):
    points = [point(0, seed=0), point(1, seed=1), point(2, seed=2)]
    points = [replace(one, parameters=one.parameters | {"model.dense_dropout": one.job / 10}) for one in points]
    search = {"proposals": "grid", "rungs": [2, 4], "eta": 3, "keep_ties": True, "candidates": ""}
    sweep = make_sweep(tmp_path, ["model.dense_dropout"], *points, search=search)
    finish(sweep.folder / "0", 0)
    for job, failure in ((1, "DivergedError: training diverged in epoch 1"), (2, "OSError: no space left on device")):
        finish(sweep.folder / str(job), job)
        path = sweep.folder / str(job) / "run.json"
        write_json(path, read_json(path) | {"status": "FAILED", "failure": failure})
    assert [one.job for one in unfinished(tmp_path, sweep, points)] == [2]
    entries, diverged = read_rung(tmp_path, sweep, points[:2])
    assert [one.points[0].job for one in entries] == [0] and diverged == [setting_key(points[1].parameters)]


def test_a_run_that_was_deleted_since_it_ended_is_no_diverged_one(tmp_path):
    points = [point(0, seed=0), point(1, seed=1)]
    sweep = make_sweep(tmp_path, ["seed"], *points)
    for number in (0, 1):
        finish(sweep.folder / str(number), number)
    assert unfinished(tmp_path, sweep, points) == []
    shutil.rmtree(sweep.folder / "1")
    with pytest.raises(InputError, match=r"1: the run was deleted while its results were read; run it again"):
        read_rung(tmp_path, sweep, points)


def on_rung(bracket: int, epochs: int, ranked: str, promoted: str = "", diverged: str = "") -> Decision:
    """A decision on settings that are named by one letter each."""
    return Decision(bracket, epochs, [entry(key, 100) for key in ranked], list(diverged), list(promoted), {}, [])


@pytest.mark.parametrize(
    "decisions, expected",
    [
        ([on_rung(0, 1, "abc", "a"), on_rung(0, 3, "a", "a")], {"b": 1, "c": 1}),
        ([on_rung(0, 1, "abc", "ab"), on_rung(0, 3, "ab", "a"), on_rung(0, 9, "a")], {"b": 3, "c": 1}),
        # Drawn in two brackets: it counts where it came furthest, whichever was the last.
        ([on_rung(0, 1, "ab", "a"), on_rung(0, 3, "a", "a"), on_rung(1, 1, "ac", "c")], {"b": 1}),
        ([on_rung(0, 1, "ab", "a"), on_rung(1, 1, "ac", "c")], {"b": 1}),
        ([on_rung(0, 1, "ab", "a"), on_rung(0, 9, "a"), on_rung(1, 1, "ac", "c"), on_rung(1, 9, "c")], {"b": 1}),
        # Diverged above a rung that it finished.
        ([on_rung(0, 1, "ab", "ab"), on_rung(0, 3, "a", "a", diverged="b")], {"b": 1}),
        ([on_rung(0, 1, "a", "a", diverged="b"), on_rung(0, 9, "a")], {}),
    ],
)
def test_after_how_many_epochs_settings_were_dropped(decisions, expected):
    assert dropped_settings(decisions, last_rung=9) == expected
