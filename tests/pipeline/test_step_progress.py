"""How far a training is: all steps that the run itself trains, on a terminal only."""

import io

import pytest
from rich.console import Console

from epochwise.pipeline import step_progress
from epochwise.pipeline.step_progress import StepProgress


@pytest.mark.parametrize("first", [1, 3])
def test_the_bar_covers_the_epochs_that_are_trained(monkeypatch, first):
    screen = io.StringIO()
    monkeypatch.setattr(step_progress, "Terminal", lambda: Console(file=screen, force_terminal=True, width=100))
    with StepProgress(epochs=4, images=100, batch_size=32) as progress:
        progress.update(first, 2)
        (task,) = progress.bar.tasks
        assert (task.completed, task.total) == (2, (5 - first) * 4)
        progress.update(4, 4)
        assert task.completed == task.total
    assert "epoch 4/4 · step 4/4" in screen.getvalue()


def test_nothing_is_shown_of_a_run_whose_epochs_are_all_reused(monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(step_progress, "Terminal", lambda: Console(file=screen, force_terminal=True, width=60))
    with StepProgress(epochs=4, images=100, batch_size=32):
        pass
    assert screen.getvalue() == ""


def test_nothing_is_shown_where_there_is_no_terminal(capsys):
    with StepProgress(epochs=1, images=32, batch_size=32) as progress:
        progress.update(1, 1)
    assert capsys.readouterr().out == ""
