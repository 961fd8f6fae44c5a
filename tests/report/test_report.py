"""report.html, from run directories made by hand: what it says, that it is the same again, and how large it is."""

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import A_RECORD
from made_sweeps import bare_project, finish, make_search, make_sweep, point  # noqa: F401
from omegaconf import OmegaConf
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from epochwise.common.errors import InputError
from epochwise.common.files import write_json, write_text
from epochwise.evaluation.class_metrics import class_metrics
from epochwise.report.charts import setting_series, ticks
from epochwise.report.content import report_of_run
from epochwise.report.page import MAX_WITH_IMAGES
from epochwise.report.shared_epochs import distinct_epochs, shared_epochs
from epochwise.runs.directory import RunDirectory
from epochwise.runs.record import RunRecord
from epochwise.sweeps import leaderboard_files
from epochwise.sweeps.leaderboard import make_leaderboard
from epochwise.sweeps.record import SweepRecord
from epochwise.sweeps.table import as_text

pytestmark = pytest.mark.usefixtures("bare_project")

MISTAKE_KEYS = ("index", "actual", "predicted", "probability", "png")
PNG = base64.b64encode(b"\x89PNG of a digit" * 20).decode()


def evaluated(folder: Path, seed: int, images: int = 10_000, wrong: int = 90, classes: int = 10) -> None:
    """What evaluate writes about each test image, in the size of MNIST's."""
    draw = np.random.default_rng(0)
    actual = draw.integers(0, classes, images)
    predicted, mistaken = actual.copy(), np.random.default_rng(seed).choice(images, wrong, replace=False)
    predicted[mistaken] = (actual[mistaken] + 1) % classes
    lines = "".join(f"{one},{other}\n" for one, other in zip(actual, predicted, strict=True))
    write_text(folder / "confusion_matrix.csv", f"actual,predicted\n{lines}")
    kept = [
        {"index": int(i), "actual": int(actual[i]), "predicted": int(predicted[i]), "probability": 0.9, "png": PNG}
        for i in mistaken[:24]
    ]
    write_json(folder / "mistakes.json", {"test_images": images, "count": wrong, "mistakes": kept})


def grid_sweep(root: Path, epochs: list[int], dropouts: list[float], seeds: list[int]) -> SweepRecord:
    grid = [(e, d, s) for e in epochs for d in dropouts for s in seeds]
    points = [point(job, train__epochs=e, model__dense_dropout=d, seed=s) for job, (e, d, s) in enumerate(grid)]
    varied = ["train.epochs", "model.dense_dropout", *(["seed"] if len(seeds) > 1 else [])]
    sweep = make_sweep(root, varied, *points)
    for job, (e, d, s) in enumerate(grid):
        folder = sweep.folder / str(job)
        score = 0.9 + 0.01 * d + 0.001 * e + 0.0001 * s
        finish(folder, job, score, score - 0.01, trajectory=f"{d} {s}", epochs=e)
        evaluated(folder, job)
    return sweep


def page_of(root: Path, sweep: SweepRecord) -> str:
    return leaderboard_files.write_report(make_leaderboard(root, sweep)).read_text()


def data_of(page: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page).group(1))


def values_of(page: str) -> list[list[str]]:
    """The unrounded values of the leaderboard's rows."""
    bodies = re.search(r'<table id="settings".*?</table>', page, re.DOTALL).group().split("<tbody>")[1:]
    return [re.findall(r'data-value="([^"]*)"', body) for body in bodies]


def test_its_numbers_are_those_of_compare(tmp_path):
    sweep = grid_sweep(tmp_path, [2, 4], [0.25, 0.5], [0, 1, 2])
    page = page_of(tmp_path, sweep)
    rows = json.loads(as_text(make_leaderboard(tmp_path, sweep), "json"))["rows"]
    shown = values_of(page)
    assert len(shown) == len(rows) == 4
    keys = ["rank", "train.epochs", "model.dense_dropout", "n", "val_accuracy", "val_loss", "best_epoch"]
    keys += ["test_accuracy", "test_loss", "epochs_trained", "epochs_reused", "train_seconds"]
    for values, row in zip(shown, rows, strict=True):
        assert [float(value) for value in values[:-1]] == [row[key] for key in keys]
        assert values[-1] == row["runs"][1], "the seed in the middle"
    runs = data_of(page)["runs"]
    assert [run["id"] for run in runs] == [run for row in rows for run in row["runs"]]
    for run, row in zip(runs[::3], rows, strict=True):
        assert run["metrics"]["val_accuracy"] == pytest.approx(row["val_accuracy"], abs=2e-4)


def test_a_search_does_not_compare_rungs_as_equals(tmp_path):
    """A column says when a setting was dropped, and the heat map has those of the best one's rung only."""
    page = page_of(tmp_path, make_search(tmp_path))
    assert re.search(r"<button[^>]*>dropped at</button>", page)
    places = [values[4:6] for values in values_of(page)]  # after rank and three parameters
    assert [dropped for dropped, _ in places] == ["", "", "1"]
    assert [float(accuracy) for _, accuracy in places] == [279 / 300, 278 / 300, 200 / 300]
    (heat_map,) = re.findall(r'<table class="heat".*?</table>', page, re.DOTALL)
    assert re.findall(r'<td style="[^"]*"( class="best")?>([^<]*)</td>', heat_map) == [
        (' class="best"', "0.9300"),
        ("", "0.9267"),
    ]
    assert "dropped at" not in page_of(tmp_path, grid_sweep(tmp_path, [2, 4], [0.5], [0]))


def test_the_best_cell_of_a_heat_map_is_that_of_the_first_setting(tmp_path):
    """Of two settings with the same val_accuracy, that with the lower val_loss."""
    grid = [(e, d) for e in (2, 4) for d in (0.25, 0.5)]
    points = [point(job, train__epochs=e, model__dense_dropout=d) for job, (e, d) in enumerate(grid)]
    sweep = make_sweep(tmp_path, ["train.epochs", "model.dense_dropout"], *points)
    for job, (epochs, _) in enumerate(grid):
        finish(sweep.folder / str(job), job, 0.9, val_loss=0.1 if job == 2 else 0.2, epochs=epochs)
    assert page_of(tmp_path, sweep).count('class="best">') == 1


def test_it_is_the_same_bytes_again_and_asks_for_nothing(tmp_path):
    sweep = grid_sweep(tmp_path, [2, 4], [0.25, 0.5], [0])
    page = page_of(tmp_path, sweep)
    assert page_of(tmp_path, sweep) == page
    assert not re.search(r'(?:src|href|url)\s*[=(]\s*["\']?(?:https?:)?//', page)
    assert re.findall(r'href="([^#"][^"]*)"', page) == ["data:,"]


@pytest.mark.parametrize("varied", [["seed"], ["train.epochs", "seed"]])
def test_runs_that_their_patience_ends_are_shown_as_long_as_they_are(tmp_path, varied):
    """The mean over seeds goes as far as all of them, and each end has a dot."""
    points = [point(job, seed=job, train__epochs=9, train__patience=2) for job in range(2)]
    sweep = make_sweep(tmp_path, varied, *points)
    for job, epochs in enumerate((3, 5)):
        finish(sweep.folder / str(job), job, 0.9 + job / 10, epochs=epochs)
        evaluated(sweep.folder / str(job), job)
    leaderboard = make_leaderboard(tmp_path, sweep)
    settings = leaderboard_files.sweep_report(leaderboard).settings
    (series,) = setting_series(settings, "val_accuracy", lambda setting, without_epochs=False: "both")
    assert series.values == {epoch: pytest.approx(0.95) for epoch in (1, 2, 3)}
    assert series.deviations == {epoch: pytest.approx(0.1 / 2**0.5) for epoch in (1, 2, 3)}
    assert {epoch: value for epoch, (value, _) in series.marks.items()} == {3: 0.9, 5: 1.0}
    page = page_of(tmp_path, sweep)
    assert ">3…5</td>" in page and ">epochs</button>" in page
    assert (">train.epochs</button>" in page) == ("train.epochs" in varied)


def test_18_runs_fit_into_a_megabyte(tmp_path):
    page = page_of(tmp_path, grid_sweep(tmp_path, [2, 4, 6, 8, 10, 12], [0.25, 0.5, 0.75], [0]))
    assert len(data_of(page)["runs"]) == 18
    assert len(page.encode()) < 1_000_000


@pytest.mark.slow
def test_1000_runs_are_1000_rows_with_the_numbers_of_compare(tmp_path):
    sweep = grid_sweep(tmp_path, [2, 4, 6, 8, 10], [number / 200 for number in range(200)], [0])
    page = page_of(tmp_path, sweep)
    rows = json.loads(as_text(make_leaderboard(tmp_path, sweep), "json"))["rows"]
    assert len(rows) == len(data_of(page)["runs"]) == 1000
    column = 3  # after rank and the two parameters
    assert [float(values[column]) for values in values_of(page)] == [row["val_accuracy"] for row in rows]


def test_of_many_runs_the_best_have_images_and_all_have_rows(tmp_path):
    page = page_of(tmp_path, grid_sweep(tmp_path, [2], [number / 100 for number in range(70)], [0]))
    data = data_of(page)
    assert len(data["runs"]) == len(values_of(page)) == 70
    assert [bool(run["mistakes"]) for run in data["runs"]] == [place < MAX_WITH_IMAGES for place in range(70)]


def test_names_are_never_read_as_html_or_script(tmp_path):
    sweep = grid_sweep(tmp_path, [2], [0.25, 0.5], [0])
    record = json.loads((sweep.folder / "0/run.json").read_text())
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    write_json(sweep.folder / "0/run.json", record | {"name": evil, "run_id": evil, "mlflow": {"tags": {"cpu": evil}}})
    page = page_of(tmp_path, sweep)
    assert "<script>alert" not in page and "<img src=x" not in page
    assert any(run["id"] == evil for run in data_of(page)["runs"])


def test_a_run_without_predictions_is_shown_without_them(tmp_path):
    sweep = grid_sweep(tmp_path, [2], [0.25, 0.5, 0.75], [0])
    (sweep.folder / "0/confusion_matrix.csv").unlink()
    (sweep.folder / "1/confusion_matrix.csv").write_text("actual,predicted\n1\n")
    (sweep.folder / "1/mistakes.json").write_text("[]")
    runs = {run["id"]: run for run in data_of(page_of(tmp_path, sweep))["runs"]}
    assert [bool(runs[f"run{job}"]["counts"]) for job in range(3)] == [False, False, True]
    assert runs["run1"]["mistakes"] == []


@pytest.mark.parametrize("rows", ["-1,-1\n", "1,x\n", "\xff"])
def test_a_damaged_file_of_one_run_costs_neither_page_nor_leaderboard(tmp_path, rows):
    sweep = grid_sweep(tmp_path, [2], [0.25, 0.5], [0])
    (sweep.folder / "0/confusion_matrix.csv").write_text(f"actual,predicted\n{rows}", encoding="latin-1")
    write_json(sweep.folder / "0/mistakes.json", {"mistakes": [dict.fromkeys(MISTAKE_KEYS)]})
    record = json.loads((sweep.folder / "sweep.json").read_text())
    write_json(sweep.folder / "sweep.json", record | {"command": "epochwise run -m prepare.source=x\udcff.npz"})
    sweep = SweepRecord.read(sweep.folder)
    leaderboard_files.write(make_leaderboard(tmp_path, sweep))
    assert {path.name for path in sweep.folder.glob("leaderboard.*")} == {
        f"leaderboard.{s}" for s in ("csv", "json", "md")
    }
    assert "prepare.source=x?.npz" in (sweep.folder / "report.html").read_text()


def test_a_settings_dot_is_of_its_own_runs(tmp_path):
    """Also if a seed of the longest setting failed."""
    sweep = grid_sweep(tmp_path, [2, 4], [0.5], [0, 1, 2])
    (sweep.folder / "5/run.json").unlink()
    leaderboard = make_leaderboard(tmp_path, sweep)
    page = page_of(tmp_path, sweep)
    for setting in leaderboard.settings:
        epochs = setting.parameters["train.epochs"]
        assert f"val_accuracy {setting.mean('val_accuracy'):.4f} after epoch {epochs}" in page


def test_the_report_of_a_run_refuses_an_earlier_trainings_scores(tmp_path):
    finish(tmp_path / "outputs/run", 0, 0.9)
    run = RunDirectory(tmp_path / "outputs/run")
    run.write_config(OmegaConf.create({"prepare": {"source": "digits", "validation_size": 0, "train_size": 0,
                     "split_seed": 0}, "seed": 0, "model": {}, "train": {"epochs": 2}}))  # fmt: skip
    assert report_of_run(run, run.read_record()).settings[0].summary["val_accuracy"] == 0.9
    history = run.read_history()
    history[-1]["val_accuracy"] = 0.99
    run.write_history(history)
    with pytest.raises(InputError, match="is not evaluated since it was trained"):
        report_of_run(run, run.read_record())


def test_a_new_training_removes_the_report_of_the_earlier_one(tmp_path):
    run = RunDirectory(tmp_path / "models", tmp_path / "reports")
    write_text(run.report, "of the earlier training")
    run.clear()
    assert not run.report.exists()


def test_nothing_finished_is_a_page_that_says_so(tmp_path):
    page = page_of(tmp_path, make_sweep(tmp_path, ["seed"], point(0, seed=0), failures={0: "ValueError: <boom>"}))
    assert "No run is finished yet." in page and "failed: seed=0: ValueError: &lt;boom&gt;" in page


def test_it_compares_predictions_image_by_image(tmp_path):
    sweep = grid_sweep(tmp_path, [2], [0.25], [0])
    (run,) = data_of(page_of(tmp_path, sweep))["runs"]
    lines = (sweep.folder / "0/confusion_matrix.csv").read_text().splitlines()[1:]
    pairs = np.array([list(map(int, line.split(","))) for line in lines])
    expected = confusion_matrix(pairs[:, 0], pairs[:, 1])
    assert run["counts"] == expected.tolist()
    wrong = np.flatnonzero(pairs[:, 0] != pairs[:, 1])
    assert run["wrong"] == {str(index): int(pairs[index, 1]) for index in wrong}


@pytest.mark.parametrize("seed", range(3))
def test_class_metrics_are_scikit_learns(seed):
    draw = np.random.default_rng(seed)
    actual, predicted = draw.integers(0, 6, 500), draw.integers(0, 5, 500)  # class 5 is never predicted
    counts = confusion_matrix(actual, predicted, labels=range(7))  # and class 6 is not there
    options = {"labels": range(7), "zero_division": 0}
    precision, recall, f1, images = precision_recall_fscore_support(actual, predicted, **options)
    found = class_metrics(counts.tolist())
    for values, expected in zip(zip(*found, strict=True), (images, precision, recall, f1), strict=True):
        np.testing.assert_allclose(values, expected, rtol=1e-12)


def test_cooldowns_are_branches_of_the_epochs_that_they_share():
    def run(epochs: int, cooldown: int) -> RunRecord:
        own = {"train.epochs": epochs, "train.cooldown_epochs": cooldown} if cooldown else {}
        identity = {"parameters": {"seed": 0} | own, "data": "d"}
        return RunRecord(**A_RECORD | {"epochs": epochs, "identity": identity})

    runs = [run(6, 0), run(4, 1), run(8, 2)]
    (trunk,) = shared_epochs(runs, ["six", "four", "eight"], ["all"] * 3)
    assert (trunk.last, trunk.longest, trunk.ends) == (6, 8, {6: "six"})
    assert [(branch.first, branch.last, branch.run) for branch in trunk.branches] == [(4, 4, "four"), (7, 8, "eight")]
    assert distinct_epochs([trunk]) == 6 + 1 + 2


@pytest.mark.parametrize(("low", "high"), [(0.9, 0.99), (0, 1), (0.001, 0.0013), (-3, 250), (7, 7), (1e-9, 2e-9)])
def test_ticks_are_few_and_inside(low, high):
    found = ticks(low, high)
    assert 1 <= len(found) <= 7
    assert all(low - 1e-12 <= value <= high + 1e-12 for value in found)
