"""What MLflow is to show of a sweep, and when it is published; from run directories made by hand."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from made_sweeps import bare_project, finish, make_search, make_sweep, point  # noqa: F401

from epochwise.common.errors import RunError
from epochwise.sweeps import publication
from epochwise.sweeps.leaderboard import Leaderboard, make_leaderboard
from epochwise.sweeps.publication import connect_and_publish, publish_if_needed, sweep_content
from epochwise.sweeps.record import SweepRecord
from epochwise.sweeps.table import as_text, digest

pytestmark = pytest.mark.usefixtures("bare_project")
SERVER = SimpleNamespace(name="a server")


@pytest.fixture
def sweep(tmp_path) -> SweepRecord:
    """Two settings of which one has two seeds; the best run is the last."""
    grid = [(0.25, 0), (0.5, 0), (0.5, 1)]
    points = [point(job, model__dense_dropout=d, seed=seed) for job, (d, seed) in enumerate(grid)]
    made = make_sweep(tmp_path, ["model.dense_dropout", "seed"], *points)
    for job in range(3):
        finish(made.folder / str(job), job, 0.9 + job / 100, test_accuracy=0.8 + job / 100)
    return made


@pytest.fixture
def published(monkeypatch) -> list:
    """What is published, to an MLflow that has nothing."""
    contents = []
    monkeypatch.setattr(publication, "has_sweep", lambda server, content: False)
    monkeypatch.setattr(publication, "publish_sweep", lambda server, content: contents.append(content) or "http://link")
    return contents


def test_the_content_is_the_leaderboard_best_first(sweep, tmp_path):
    leaderboard = make_leaderboard(tmp_path, sweep)
    content = sweep_content(leaderboard)
    assert [run.run.path.name for run in content.runs] == ["2", "1", "0"]
    assert content.runs[0].parameters == sweep.points[2].parameters
    assert (content.status, content.best_setting) == ("FINISHED", "dense_dropout=0.5 seed=1")
    means = {"val_accuracy": pytest.approx(0.915), "test_accuracy": pytest.approx(0.815)}
    assert content.metrics == {"runs": 3, "failed": 0, **means}
    assert (content.markdown, content.digest) == (as_text(leaderboard, "markdown"), digest(leaderboard))
    assert content.files == [], "none is written yet"


def test_of_a_search_each_run_has_its_rung_and_when_it_was_dropped(tmp_path):
    content = sweep_content(make_leaderboard(tmp_path, make_search(tmp_path)))
    assert [(run.run.path.name, run.tags) for run in content.runs] == [
        ("3", {"sweep.rung": "2 of 2", "sweep.dropped_at_epoch": "not dropped"}),
        ("4", {"sweep.rung": "2 of 2", "sweep.dropped_at_epoch": "not dropped"}),
        ("2", {"sweep.rung": "1 of 2", "sweep.dropped_at_epoch": "1"}),
    ]
    assert [run.path.name for run in content.superseded] == ["0", "1"], "whose epochs a longer run has, too"
    assert content.tags == ["sweep.rung", "sweep.dropped_at_epoch"]
    assert "after 1 epoch: 1 of 3 settings went on, and 1 more within chance" in content.markdown


def test_a_search_that_was_broken_off_is_not_finished(tmp_path):
    sweep = make_search(tmp_path)
    assert sweep_content(make_leaderboard(tmp_path, sweep)).status == "FINISHED"
    assert sweep_content(make_leaderboard(tmp_path, replace(sweep, search_ended=False))).status == "KILLED"


def test_a_search_that_a_grid_finishes_is_published_again(tmp_path, sweep, monkeypatch, published):
    search = replace(sweep, id="of the search", published="a server").write()
    monkeypatch.setattr(publication, "Server", lambda root: SimpleNamespace(name="a server", ping=lambda: None))
    monkeypatch.setattr(publication, "end_orphans", lambda root, server: None)
    monkeypatch.setattr(Leaderboard, "finished_searches", [search, replace(search, published="")])
    connect_and_publish(sweep)
    assert [content.id for content in published] == [sweep.id, search.id]


def test_a_failed_run_comes_before_a_missing_one(tmp_path):
    points = [point(job, seed=job) for job in range(2)]
    failing = make_sweep(tmp_path, ["seed"], *points, failures={0: "boom"})
    assert sweep_content(make_leaderboard(tmp_path, failing)).status == "FAILED"
    missing = sweep_content(make_leaderboard(tmp_path, make_sweep(tmp_path, ["seed"], *points)))
    assert (missing.status, missing.best_setting, missing.metrics) == ("KILLED", None, {"runs": 0, "failed": 0})


def test_a_published_sweep_has_its_files_and_stays_the_latest(sweep, tmp_path, published):
    changed = SweepRecord.read(sweep.folder).changed
    record = publish_if_needed(SERVER, sweep)
    assert SweepRecord.read(sweep.folder) == record
    assert (record.link, record.published) == ("http://link", "a server")
    assert record.published_digest == digest(make_leaderboard(tmp_path, sweep))
    assert record.changed == changed
    names = [path.name for path in published[0].files]
    assert names == ["leaderboard.csv", "leaderboard.json", "leaderboard.md", "report.html", "curves.png"]


def test_what_mlflow_has_is_left_alone(sweep, monkeypatch, published):
    monkeypatch.setattr(publication, "has_sweep", lambda server, content: True)
    assert publish_if_needed(SERVER, sweep) is None
    assert not published and not (sweep.folder / "leaderboard.md").exists()


def test_orphans_are_ended_before_the_sweep_is_published(sweep, tmp_path, monkeypatch, published):
    calls = []
    server = SimpleNamespace(name="a server", ping=lambda: calls.append("ping"))
    monkeypatch.setattr(publication, "Server", lambda root: calls.append(root) or server)
    monkeypatch.setattr(publication, "end_orphans", lambda root, server: calls.append("orphans"))
    assert connect_and_publish(sweep).link == "http://link"
    assert calls == [Path(tmp_path), "ping", "orphans"]
    monkeypatch.setattr(publication, "has_sweep", lambda server, content: True)
    assert connect_and_publish(sweep) is sweep


def test_an_error_of_mlflow_becomes_its_reason(sweep, monkeypatch):
    def refuse(root: Path) -> None:
        raise ConnectionError("no\nanswer from http://user:secret@host")

    monkeypatch.setattr(publication, "Server", refuse)
    with pytest.raises(RunError) as refused:
        connect_and_publish(sweep)
    assert "no answer from http://" in str(refused.value) and "secret" not in str(refused.value)
