"""The leaderboard's files and pictures, from run directories made by hand."""

import json

import pytest
from made_sweeps import bare_project, finish, make_search, make_sweep, point  # noqa: F401

from epochwise.sweeps import leaderboard_files, pictures
from epochwise.sweeps.curves import trajectory_curves
from epochwise.sweeps.leaderboard import make_leaderboard
from epochwise.sweeps.table import as_text

pytestmark = pytest.mark.usefixtures("bare_project")

TEXTS = ["leaderboard.csv", "leaderboard.json", "leaderboard.md"]


@pytest.fixture
def sweep(tmp_path):
    """Four runs of two trajectories."""
    grid = [(e, d) for e in (2, 4) for d in (0.25, 0.5)]
    points = [point(job, train__epochs=e, model__dense_dropout=d) for job, (e, d) in enumerate(grid)]
    made = make_sweep(tmp_path, ["train.epochs", "model.dense_dropout"], *points)
    for job, (epochs, dropout) in enumerate(grid):
        finish(made.folder / str(job), job, 0.9 + job / 100, trajectory=str(dropout), epochs=epochs)
    return made


def names(leaderboard) -> list[str]:
    return [path.name for path in leaderboard_files.existing(leaderboard)]


def test_texts_and_pictures_are_written(sweep, tmp_path):
    leaderboard = make_leaderboard(tmp_path, sweep)
    leaderboard_files.write(leaderboard)
    assert names(leaderboard) == [*TEXTS, "report.html", "curves.png", "heat_map.png"]
    for name, form in zip(TEXTS, ("csv", "json", "markdown"), strict=True):
        assert (sweep.folder / name).read_text() == as_text(leaderboard, form)


def test_pictures_are_drawn_again_only_if_they_are_missing_or_out_of_date(sweep, tmp_path):
    leaderboard = make_leaderboard(tmp_path, sweep)
    leaderboard_files.write(leaderboard)
    curves = sweep.folder / "curves.png"
    curves.write_text("as it was drawn")
    leaderboard_files.write(leaderboard)
    assert curves.read_text() == "as it was drawn"
    (sweep.folder / "heat_map.png").unlink()
    leaderboard_files.write(leaderboard)
    assert curves.read_bytes().startswith(b"\x89PNG")
    curves.write_text("as it was drawn")
    finish(sweep.folder / "0", 0, 0.99)
    leaderboard_files.write(make_leaderboard(tmp_path, sweep))
    assert curves.read_bytes().startswith(b"\x89PNG")
    assert json.loads((sweep.folder / "leaderboard.json").read_text())["rows"][0]["runs"] == ["run0"]


def test_nothing_finished_gives_no_pictures(tmp_path):
    leaderboard = make_leaderboard(tmp_path, make_sweep(tmp_path, ["seed"], point(0, seed=0)))
    leaderboard_files.write(leaderboard)
    assert names(leaderboard) == [*TEXTS, "report.html"]


def test_lists_can_be_swept_beside_another_key(tmp_path):
    grid = [(filters, e) for filters in ([8, 16], [16, 32]) for e in (1, 2)]
    points = [point(job, model__filters=filters, train__epochs=e) for job, (filters, e) in enumerate(grid)]
    sweep = make_sweep(tmp_path, ["model.filters", "train.epochs"], *points)
    for job in range(4):
        finish(sweep.folder / str(job), job, 0.9 + job / 100)
    leaderboard_files.write(make_leaderboard(tmp_path, sweep))
    assert (sweep.folder / "heat_map.png").is_file()


def test_the_heat_map_of_a_search_has_the_settings_that_came_as_far_as_the_best(tmp_path, monkeypatch):
    """0.3 has trained for one epoch only, and the best of the last rung is not the best of all."""
    drawn = []
    monkeypatch.setattr(pictures, "draw_heat_map", lambda *arguments: drawn.append(arguments))
    leaderboard_files.write(make_leaderboard(tmp_path, make_search(tmp_path)))
    ((keys, cells, _, heading),) = drawn
    assert keys == ["model.dense_dropout", "model.dense_units"]
    assert list(cells.items()) == [((0.1, 128), 279 / 300), ((0.2, 129), 278 / 300)]
    assert heading == "val_accuracy (validation images, after 2 epochs)"


def test_the_bold_cell_of_a_heat_map_is_the_first(tmp_path, monkeypatch):
    """It is that of the best setting, which the leaderboard alone knows."""
    bold = []

    def save(figure, path):
        texts = [text for axes in figure.axes for text in axes.texts]
        bold.extend(text.get_position() for text in texts if text.get_weight() == "bold")

    monkeypatch.setattr(pictures.figures, "save", save)
    pictures.draw_heat_map(("x", "y"), {(2, 1): 0.8, (1, 1): 0.9, (1, 2): 0.9}, tmp_path / "map.png", "a map")
    assert bold == [(1, 0)]


def test_runs_that_differ_in_length_only_are_one_curve(sweep, tmp_path):
    curves = trajectory_curves(make_leaderboard(tmp_path, sweep))
    assert [(curve.label, [epoch for epoch, _ in curve.dots("val_loss")]) for curve in curves] == [
        ("dense_dropout=0.5", [2, 4]),
        ("dense_dropout=0.25", [2, 4]),
    ]
    assert [list(curve.line("val_loss")[0]) for curve in curves] == [[1, 2, 3, 4]] * 2
    assert not any(curve.line("val_loss")[1] for curve in curves), "one seed has no deviation"


def seeded(tmp_path, accuracies: dict[tuple[float, int], float], epochs: dict[int, int], **more):
    """The leaderboard of runs by dropout and seed, with these val_accuracies and, by seed, numbers of epochs."""
    points = [point(job, seed=seed, model__dense_dropout=d, **more) for job, (d, seed) in enumerate(accuracies)]
    varied = ["seed", "model.dense_dropout"] if len({d for d, _ in accuracies}) > 1 else ["seed"]
    made = make_sweep(tmp_path, varied, *points)
    for job, ((_, seed), val_accuracy) in enumerate(accuracies.items()):
        finish(made.folder / str(job), job, val_accuracy, epochs=epochs[seed])
    return make_leaderboard(tmp_path, made)


def test_a_curve_over_seeds_is_their_mean_in_a_band_of_the_deviation(tmp_path):
    accuracies = {(0.25, 0): 0.90, (0.25, 1): 0.94, (0.5, 0): 0.95, (0.5, 1): 0.97}
    curves = trajectory_curves(seeded(tmp_path, accuracies, {0: 2, 1: 2}))
    assert [curve.label for curve in curves] == ["dense_dropout=0.5", "dense_dropout=0.25"]
    for curve, mean, deviation in zip(curves, (0.96, 0.92), (0.02 / 2**0.5, 0.04 / 2**0.5), strict=True):
        means, deviations = curve.line("val_accuracy")
        assert means == {1: pytest.approx(mean), 2: pytest.approx(mean)}
        assert deviations == {1: pytest.approx(deviation), 2: pytest.approx(deviation)}
        assert curve.dots("val_accuracy") == [(2, pytest.approx(mean))]


def test_if_only_the_seed_was_varied_there_is_one_curve_with_its_seeds(tmp_path):
    leaderboard = seeded(tmp_path, {(0.5, 0): 0.95, (0.5, 1): 0.97}, {0: 2, 1: 2})
    (curve,) = trajectory_curves(leaderboard)
    assert (curve.label, sorted(curve.histories)) == ("all runs", [0, 1])
    leaderboard_files.write(leaderboard)
    assert (leaderboard.sweep.folder / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_mean_over_seeds_goes_as_far_as_all_of_them_and_each_end_is_shown(tmp_path):
    """A patience ends runs after different epochs."""
    accuracies = {(0.5, 0): 0.95, (0.5, 1): 0.97, (0.5, 2): 0.99}
    leaderboard = seeded(tmp_path, accuracies, {0: 2, 1: 4, 2: 4}, train__epochs=9, train__patience=1)
    (curve,) = trajectory_curves(leaderboard)
    means, deviations = curve.line("val_accuracy")
    assert means == {1: pytest.approx(0.97), 2: pytest.approx(0.97)}
    assert deviations == {1: pytest.approx(0.02), 2: pytest.approx(0.02)}
    assert curve.dots("val_accuracy") == [(2, pytest.approx(0.95)), (4, pytest.approx(0.98))]
    leaderboard_files.write(leaderboard)
    assert (leaderboard.sweep.folder / "curves.png").read_bytes().startswith(b"\x89PNG")
