"""`epochwise compare` of two runs, and of several sweeps."""

import csv
import io
import json
import math
from dataclasses import replace

import pytest
from conftest import A_RECORD
from made_sweeps import bare_project, finish, make_search, make_sweep, point, predict  # noqa: F401
from omegaconf import OmegaConf
from scipy.stats import binomtest

from epochwise.commands.compare import compare
from epochwise.commands.difference import difference
from epochwise.commands.find_named import find_named
from epochwise.common.errors import InputError
from epochwise.common.files import write_json
from epochwise.config.schema import BEFORE
from epochwise.runs.directory import RunDirectory
from epochwise.sweeps.paired_test import mcnemar

pytestmark = pytest.mark.usefixtures("bare_project")

PIXEL_MAX = "prepare.pixel_max"


def run(root, number: int, epochs: int, wrong: dict[int, int], dropout: float = 0.5, **more: object) -> RunDirectory:
    """A finished run that takes the test images `wrong` for other classes than their own, which is index % 3."""
    folder = root / "outputs" / str(number)
    finish(folder, number, epochs=epochs, **more)
    cfg = {"seed": 0, "prepare": {"source": "digits", "validation_size": 300, "train_size": 0, "split_seed": 0}}
    cfg |= {"model": {"dense_dropout": dropout}, "train": {"epochs": epochs}}
    OmegaConf.save(OmegaConf.create(cfg), folder / "config.yaml")
    lines = [f"{index % 3},{wrong.get(index, index % 3)}" for index in range(30)]
    (folder / "confusion_matrix.csv").write_text("\n".join(["actual,predicted", *lines]) + "\n")
    return RunDirectory(folder)


def test_histories_of_one_epoch_are_described_in_the_singular(tmp_path, monkeypatch):
    monkeypatch.setattr("epochwise.runs.directory.check_model_archive", lambda path: None)
    one, same, longer = run(tmp_path, 0, 1, {}), run(tmp_path, 1, 1, {}), run(tmp_path, 2, 2, {})
    assert difference(one, same).history == "the one epoch is equal, and the weights are the same"
    assert difference(one, longer).history == "equal in the one epoch that both have; B has 1 more"


def test_two_runs(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("epochwise.runs.directory.check_model_archive", lambda path: None)
    one = run(tmp_path, 0, 4, {1: 0, 2: 0, 3: 1})
    other = run(tmp_path, 1, 2, {1: 2, 2: 0}, dropout=0.25, git_commit="1" * 40)
    found = difference(one, other)
    assert found.configuration == [("model.dense_dropout", 0.5, 0.25), ("train.epochs", 4, 2)]
    assert found.data == [] and found.code == [("commit", "0" * 40, "1" * 40)]
    assert found.history == "equal in the 2 epochs that both have; A has 2 more"
    images = found.images
    assert (images.both_right, images.only_a_right, images.only_b_right, images.both_wrong) == (27, 0, 1, 2)
    assert images.disagree == [1, 3], "image 2 is taken for the same wrong class"
    compare([one.path, other.path], "table")
    printed = capsys.readouterr().out
    assert "  model.dense_dropout: 0.5 → 0.25" in printed and "data: the same" in printed
    assert "B gets more of them right, which may be chance (p = 1, McNemar's exact test)" in printed
    compare([one.path, other.path], "json")
    assert json.loads(capsys.readouterr().out)["configuration"]["train.epochs"] == [4, 2]
    compare([one.path, other.path], "csv")
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {"part": "configuration", "what": "train.epochs", "A": "4", "B": "2"} in rows
    assert {"part": "history", "what": "first unequal epoch", "A": "", "B": ""} in rows
    images = {row["what"]: (row["A"], row["B"]) for row in rows if row["part"] == "test images"}
    assert images.keys() == {"only this run right", "both right", "both wrong", "p of McNemar's exact test"}
    compare([one.path, other.path], "markdown")
    assert "| configuration | train.epochs | 4 | 2 |" in capsys.readouterr().out


def test_the_first_epoch_that_is_not_equal(tmp_path, monkeypatch):
    monkeypatch.setattr("epochwise.runs.directory.check_model_archive", lambda path: None)
    one, other = run(tmp_path, 0, 4, {}), run(tmp_path, 1, 4, {})
    assert difference(one, other).first_unequal_epoch is None
    history = other.read_history()
    history[2]["val_loss"] = 7.0
    other.write_history(history)
    found = difference(one, other)
    assert (found.first_unequal_epoch, found.history) == (3, "equal up to epoch 2, not from epoch 3 on")


def test_files_that_decide_what_is_trained_are_compared_where_git_says_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("epochwise.runs.directory.check_model_archive", lambda path: None)
    without_git = {"git_commit": None, "git_diff": None}
    one = run(tmp_path, 0, 2, {}, identity={"code": {"training/loop.py": "a" * 64}}, **without_git)
    other = run(tmp_path, 1, 2, {}, identity={"code": {"training/loop.py": "b" * 64}}, **without_git)
    assert difference(one, other).code == [("training/loop.py", "a" * 12, "b" * 12)]


def test_runs_of_other_data_are_not_compared_image_by_image(tmp_path, monkeypatch):
    monkeypatch.setattr("epochwise.runs.directory.check_model_archive", lambda path: None)
    found = difference(run(tmp_path, 0, 2, {}), run(tmp_path, 1, 2, {}, data_sha256="other"))
    assert found.images is None and found.data == [("sha256 of the prepared data", "d", "other")]


def test_predictions_of_an_earlier_model_are_not_those_of_a_run_that_is_not_evaluated(tmp_path, monkeypatch):
    """The pipeline's reports stay until evaluate writes new ones."""
    monkeypatch.setattr("epochwise.runs.directory.check_model_archive", lambda path: None)
    one, trained = run(tmp_path, 0, 2, {1: 0}), run(tmp_path, 1, 2, {2: 0})
    history = trained.read_history()
    trained.write_history([row | {"val_accuracy": 0.5} for row in history])
    found = difference(one, trained)
    assert (found.images, found.metrics) == (None, [])


def test_a_setting_and_a_seed_that_several_sweeps_have_run_count_once(tmp_path, capsys):
    """As seeds of one setting, equal runs would show no deviation, and any difference as more than chance."""
    points = [point(job, model__dense_dropout=job / 10) for job in range(2)]
    sweep = make_sweep(tmp_path, ["model.dense_dropout"], *points)
    again = tmp_path / "multirun/day/later"
    again.mkdir()
    replace(sweep, folder=again, id="day_later", rerun=True).write()
    for folder, letter in ((sweep.folder, "a"), (again, "b")):
        for job, correct in enumerate((290, 280)):
            finish(folder / str(job), job, correct / 300, run_id=f"{letter}{job}")
            predict(folder / str(job), correct, first=job)
    compare(["day_time", "day_later"], "json")
    content = json.loads(capsys.readouterr().out)
    assert [(row["n"], row["runs"], row["val_accuracy_sd"]) for row in content["rows"]] == [
        (1, ["a0"], None),
        (1, ["a1"], None),
    ]
    note = "2 runs with setting, seed and data of another one not shown: b0, b1; the one that counts is of the sweep"
    assert any(line.startswith(note) for line in content["notes"])
    assert not any("Welch" in line for line in content["notes"])


def test_runs_on_other_data_are_no_further_seeds(tmp_path, capsys):
    sweep = make_sweep(tmp_path, ["seed"], point(0, seed=0))
    later = tmp_path / "multirun/day/later"
    later.mkdir()
    other = replace(point(1, seed=1), job=0, data_sha256="other")
    replace(sweep, folder=later, id="day_later", points=[other]).write()
    finish(sweep.folder / "0", 0, 0.9)
    finish(later / "0", 1, 0.8, data_sha256="other")
    compare(["day_time", "day_later"], "json")
    assert [row["runs"] for row in json.loads(capsys.readouterr().out)["rows"]] == [["run0"], ["run1"]]


def test_a_sweep_that_is_older_than_a_parameter_does_not_differ_in_it(tmp_path, capsys):
    """As texts, which settings are compared by, 0 and 0.0 are not the same."""
    sweep = make_sweep(tmp_path, ["seed"], point(0, seed=0))
    later = tmp_path / "multirun/day/later"
    later.mkdir()
    newer = point(0, seed=1)
    newer = replace(newer, fingerprint="fingerprint 1", parameters=BEFORE | newer.parameters | {PIXEL_MAX: 0.0})
    replace(sweep, folder=later, id="day_later", points=[newer]).write()
    for number, folder in enumerate((sweep.folder, later)):
        finish(folder / "0", number)
    compare(["day_time", "day_later"], "json")
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["n"] == 2 and PIXEL_MAX not in row


def test_several_sweeps_are_one_leaderboard(tmp_path, capsys):
    first = make_sweep(tmp_path, ["train.epochs"], *(point(job, train__epochs=job + 2) for job in range(2)))
    for job in range(2):
        finish(first.folder / str(job), job, 0.9 + job / 100, epochs=job + 2)
    second = tmp_path / "multirun/day/later"
    second.mkdir()
    own = json.loads((first.folder / "sweep.json").read_text())
    points = [vars(point(0, train__epochs=9)) | {"fingerprint": "fingerprint 9"}]
    write_json(second / "sweep.json", own | {"id": "day_later", "points": points})
    finish(second / "0", 9, 0.99, epochs=9)
    compare(["day_time", "day_later"], "json")
    content = json.loads(capsys.readouterr().out)
    assert content["sweep"] == "day_time and day_later"
    rows = [(row["train.epochs"], row["runs"]) for row in content["rows"]]
    assert rows == [(9, ["run9"]), (3, ["run1"]), (2, ["run0"])]
    compare(["day_time", "day_later"], "table")
    assert "epochwise promote run9 --params" in capsys.readouterr().out


def test_a_search_among_several_sweeps_that_is_not_finished_is_named(tmp_path, capsys):
    search = make_search(tmp_path)
    later = tmp_path / "multirun/day/later"
    later.mkdir()
    replace(search, folder=later, id="day_later", search_ended=False).write()
    compare(["day_time", "day_later"], "markdown")
    printed = capsys.readouterr().out
    assert "the search of sweep day_later is not finished, so a better setting may follow" in printed
    assert printed.count("is not finished") == 1


def test_what_cannot_be_compared_is_refused(tmp_path, capsys):
    sweep = make_sweep(tmp_path, ["seed"], point(0, seed=0))
    (tmp_path / "outputs/a").mkdir(parents=True)
    write_json(tmp_path / "outputs/a/run.json", A_RECORD)
    for wanted in (["recorded"], ["recorded", sweep.id], ["recorded"] * 3):
        with pytest.raises(InputError, match="compare takes sweeps, or two runs"):
            compare(wanted, "table")
    with pytest.raises(InputError, match="nonsense: no run of this id or directory"):
        compare(["nonsense"], "table")


def test_a_start_that_a_run_and_a_sweep_have_is_refused(tmp_path):
    make_sweep(tmp_path, ["seed"], point(0, seed=0))  # day_time
    for name, run_id in (("outputs/a", "da1"), ("outputs/b", "da")):
        (tmp_path / name).mkdir(parents=True)
        write_json(tmp_path / name / "run.json", A_RECORD | {"run_id": run_id})
    with pytest.raises(InputError, match="^da1?: |^d: ") as refused:
        find_named("d")
    assert "give more of the id" in str(refused.value)
    assert find_named("day").id == "day_time"
    assert find_named("da").read_record().run_id == "da", "an id that is whole"


@pytest.mark.parametrize(("b", "c"), [(0, 0), (5, 5), (0, 5), (1, 9), (9, 1), (40, 62), (0, 2000)])
def test_mcnemars_exact_test_is_scipys_binomial_one(b, c):
    expected = binomtest(b, b + c, 0.5).pvalue if b + c else 1.0
    assert math.isclose(mcnemar(b, c), expected, rel_tol=1e-9, abs_tol=1e-300)


def test_seeds_are_unfolded_in_a_leaderboard_only(tmp_path, capsys, monkeypatch):
    sweep = make_sweep(tmp_path, ["seed"], *(point(job, seed=job) for job in range(2)))
    for job in range(2):
        finish(sweep.folder / str(job), job, 0.9 + job / 100)
    compare([sweep.id], "table")
    folded = capsys.readouterr().out
    compare([sweep.id], "table", seeds=True)
    unfolded = capsys.readouterr().out
    rows = [line for line in unfolded.splitlines() if line not in folded.splitlines() and "0.9" in line]
    assert [line.split()[:3] for line in rows[-2:]] == [["2", "1", "0.9100"], ["2", "0", "0.9000"]]
    compare([sweep.id], "json", seeds=True)
    assert [run["seed"] for run in json.loads(capsys.readouterr().out)["rows"][0]["seeds"]] == [1, 0]
    monkeypatch.setattr("epochwise.runs.directory.check_model_archive", lambda path: None)
    one, other = run(tmp_path, 5, 2, {}), run(tmp_path, 6, 2, {})
    with pytest.raises(InputError, match="--seeds unfolds the settings of a leaderboard"):
        compare([one.path, other.path], "table", seeds=True)


def test_on_a_narrow_terminal_a_run_of_a_seed_is_a_line_below_its_setting(tmp_path, capsys, monkeypatch):
    sweep = make_sweep(tmp_path, ["seed"], *(point(job, seed=job) for job in range(2)))
    for job in range(2):
        finish(sweep.folder / str(job), job, 0.9 + job / 100)
    for name, value in {"COLUMNS": "40", "FORCE_COLOR": "1", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    compare([sweep.id], "table", seeds=True)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith(("1. ", "   epochs"))][1].startswith("   epochs 2 · seed 1")
