"""What is printed while a sweep runs, from jobs and records made by hand."""

import time

import pytest
from conftest import A_RECORD
from made_sweeps import bare_project  # noqa: F401

from epochwise.common.files import write_json
from epochwise.runs.directory import RunDirectory
from epochwise.sweeps import progress
from epochwise.sweeps.progress import SweepProgress
from epochwise.sweeps.scheduler import Job, Queue

pytestmark = pytest.mark.usefixtures("bare_project")


@pytest.fixture
def jobs(tmp_path) -> list[Job]:
    """Two runs of one trajectory, and one of another."""
    store = tmp_path / "trajectories"
    return [
        Job(number, f"job {number}", RunDirectory(tmp_path / str(number)), 2, epochs, [(key, epochs)], store)
        for number, (key, epochs) in enumerate((("a", 4), ("a", 6), ("b", 6)))
    ]


def queue_of(jobs: list[Job], *running: Job) -> Queue:
    queue = Queue(jobs)
    for job in running:
        queue.start(job)
    return queue


def write_record(job: Job, **values) -> None:
    write_json(job.run.record, A_RECORD | {"started": int(time.time() * 1000)} | values)


@pytest.mark.parametrize(
    "count, finished, workers, sentence",
    [
        (3, 0, 2, "3 runs on 2 workers: 12 epochs to train (16 if no epochs were shared)"),
        (3, 2, 1, "5 runs, 2 of them already finished; 3 to run on 1 worker: 12 epochs to train (16 if no epochs were"),
        (1, 0, 1, "1 run on 1 worker: 4 epochs to train\n"),
        (0, 4, 1, "4 runs, already finished\n"),
    ],
)
def test_the_plan_is_one_sentence(jobs, capsys, count, finished, workers, sentence):
    SweepProgress(jobs[:count], finished, workers)
    assert capsys.readouterr().out.startswith(sentence)


def test_each_end_is_a_line(jobs, capsys):
    shown = SweepProgress(jobs, 1, 1)
    for job in jobs:
        shown.start(job)
    write_record(jobs[0], epochs_trained=3, epochs_reused=1)
    (jobs[2].run.path).mkdir()
    (jobs[2].run.path / "run.log").touch()
    shown.end(jobs[0], "")
    shown.end(jobs[1], "ValueError: [boom]")
    shown.end(jobs[2], "boom")
    _, done, failed, logged = capsys.readouterr().out.splitlines()
    assert done == "done: job 0 · epochs: 3 trained, 1 reused · 0.0 s · 2 of 4"
    assert failed == "failed: job 1: ValueError: [boom] · 3 of 4"
    assert logged == "failed: job 2: boom (log: 2/run.log) · 4 of 4"


def test_the_record_of_an_earlier_attempt_does_not_count(jobs, capsys):
    write_record(jobs[0], started=1000, epochs_trained=3)
    shown = SweepProgress(jobs[:1], 0, 1)
    shown.start(jobs[0])
    shown.end(jobs[0], "")
    assert "done: job 0 · epochs: 0 trained, 0 reused" in capsys.readouterr().out


def test_without_a_terminal_a_line_comes_now_and_then(jobs, capsys, monkeypatch):
    shown = SweepProgress(jobs, 1, 2)
    shown.start(jobs[1])
    write_record(jobs[1], epochs_trained=2, epochs_reused=1, train_seconds=20.0)
    queue = queue_of(jobs, jobs[1])
    with shown.displayed():
        shown.update(queue)
        assert len(capsys.readouterr().out.splitlines()) == 1, "the plan only"
        monkeypatch.setattr(progress, "PROGRESS_INTERVAL", -1.0)
        shown.update(queue)
    assert capsys.readouterr().out == (
        "about 60 s left · 1 of 4 done · 1 running · 0 failed · epochs: 2 trained, 1 reused, 12 to train\n"
    )


def test_a_terminal_shows_how_far_the_sweep_is(jobs, capsys, monkeypatch):
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "150"}.items():
        monkeypatch.setenv(name, value)
    shown = SweepProgress(jobs, 0, 1)
    queue = queue_of(jobs, jobs[1])
    with shown.displayed():
        shown.start(jobs[1])
        shown.update(queue)
        shown.end(jobs[1], "")
        queue.end(jobs[1])
        shown.update(queue)
    printed = capsys.readouterr().out
    assert "0 of 3 done · 1 running · 0 failed" in printed or "1 of 3 done · 0 running · 0 failed" in printed
    assert "done: job 1 · epochs: 0 trained, 0 reused · 0.0 s · 1 of 3" in printed
