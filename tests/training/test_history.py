"""history.csv: what is written is what is read, and what is no history is refused."""

import pytest

from epochwise.common.errors import InputError
from epochwise.training.history import COLUMNS, best_epoch, read_history, summarize, write_history

HISTORY = [
    dict(zip(COLUMNS, values, strict=True))
    for values in ((1, 0.5, 0.8, 1 / 3, 0.9), (2, 0.4, 0.85, 0.3, 0.95), (3, 0.3, 0.9, 0.35, 0.95))
]


def test_a_history_is_read_as_it_was_written(tmp_path):
    write_history(HISTORY, tmp_path / "history.csv")
    assert read_history(tmp_path / "history.csv") == HISTORY
    assert (tmp_path / "history.csv").read_text().startswith("epoch,loss,accuracy,val_loss,val_accuracy\n1,0.5,")


def test_the_best_epoch_is_the_earliest_of_equals():
    assert best_epoch(HISTORY)["epoch"] == 2
    assert summarize(HISTORY) == {
        "loss": 0.3,
        "accuracy": 0.9,
        "val_loss": 0.35,
        "val_accuracy": 0.95,
        "best_epoch": 2,
        "best_val_accuracy": 0.95,
    }


@pytest.mark.parametrize(
    "text",
    ["", "epoch,loss\n", ",".join(COLUMNS), ",".join(COLUMNS) + "\n2,1,1,1,1\n", ",".join(COLUMNS) + "\n1,nan,1,1,1\n"],
)
def test_what_is_no_history_is_refused(tmp_path, text):
    (tmp_path / "history.csv").write_text(text)
    with pytest.raises(InputError, match="history.csv: not a"):
        read_history(tmp_path / "history.csv")
