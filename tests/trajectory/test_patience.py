"""train.patience says where a run ends, and nothing else: every epoch is that of the run without it, to the bit."""

import random

import pytest
from conftest import Project
from omegaconf import OmegaConf
from test_resume import ALONE, STEPS, assert_same, trained  # noqa: F401

from epochwise.config.compose import load
from epochwise.config.schema import BEFORE, parameters
from epochwise.pipeline.datasets import prepared_for
from epochwise.training.history import COLUMNS, History, best_epoch
from epochwise.trajectory.ending import last_epoch, possible_ends
from epochwise.trajectory.identity import fingerprint, segments, trajectory_key
from epochwise.trajectory.states import StateStore, ends_in_store


def made_history(*accuracies: float) -> History:
    rows = enumerate(accuracies, 1)
    return [dict(zip(COLUMNS, (epoch, 0.1, 0.9, 0.2, value), strict=True)) for epoch, value in rows]


def end_by_keras(accuracies: list[float], patience: int) -> int:
    """The last epoch that Keras's own EarlyStopping lets be trained."""
    from epochwise.training.backend import keras

    stopping = keras.callbacks.EarlyStopping(monitor="val_accuracy", patience=patience, mode="max")
    model = keras.Sequential()
    stopping.set_model(model)
    stopping.on_train_begin()
    for epoch, value in enumerate(accuracies):
        stopping.on_epoch_end(epoch, {"val_accuracy": value})
        if stopping.stopped_epoch:
            return epoch + 1
    return len(accuracies)


def test_it_ends_where_keras_early_stopping_ends(tensors, monkeypatch):
    from epochwise.training.backend import keras

    monkeypatch.setattr(keras.callbacks.EarlyStopping, "_set_monitor_op", lambda stopping: set_larger(stopping))
    draw = random.Random(0)
    for _ in range(200):
        accuracies = [draw.randrange(6) / 5 for _ in range(12)]
        patience = draw.randint(1, 6)
        assert last_epoch(made_history(*accuracies), 12, patience) == end_by_keras(accuracies, patience)


def set_larger(stopping) -> None:
    """What Keras finds out from a compiled model: that a larger accuracy is better."""
    from epochwise.training.backend import keras

    stopping.monitor_op = keras.ops.greater


@pytest.mark.parametrize(
    ("accuracies", "patience", "first", "last"),
    [
        ((), None, 9, 9),
        ((), 2, 3, 9),
        ((), 20, 9, 9),
        ((0.5, 0.6), 2, 4, 9),
        ((0.5, 0.6, 0.6), 2, 4, 9),
        ((0.5, 0.6, 0.6, 0.6), 2, 4, 4),
        ((0.5, 0.6, 0.6, 0.6, 0.9), 2, 4, 4),
        ((0.0, 0.0), 1, 2, 2),
    ],
)
def test_where_a_run_of_nine_epochs_may_end(accuracies, patience, first, last):
    assert possible_ends(made_history(*accuracies), 9, patience) == (first, last)


def test_it_is_part_of_the_run_but_not_of_its_trajectory(project):
    def identified(*overrides: str) -> tuple[str, str]:
        values = parameters(load(list(overrides)))
        return trajectory_key(segments(values, "data")[-1].identity), fingerprint(values, "data")

    trajectory, plain = identified("train.epochs=5")
    found = [identified("train.epochs=5", f"train.patience={patience}") for patience in (1, 2)]
    assert {key for key, _ in found} == {trajectory}
    assert len({plain, *(key for _, key in found)}) == 3
    assert plain == trajectory_key({"trajectory": trajectory, "epochs": 5}), "as before there was a patience"


def test_a_run_that_is_older_than_patience_keeps_its_fingerprint(project):
    cfg = load(["train.epochs=5"])
    older = OmegaConf.masked_copy(cfg, ["seed", "prepare", "model", "train"])
    OmegaConf.set_struct(older, False)
    older = OmegaConf.create(OmegaConf.to_container(older))
    del older.train["patience"]
    assert fingerprint(parameters(older), "data") == fingerprint(parameters(cfg), "data")
    assert BEFORE["train.patience"] is None


@pytest.fixture
def stopping(project: Project, trained) -> tuple[int, History]:  # noqa: F811
    """A patience that ends a run of at most 12 epochs on digits, and the history of the run without it."""
    history = trained("train.epochs=12").history
    assert last_epoch(history, 12, 1) < 11, (
        "the setting of these tests must have an epoch without a higher val_accuracy"
    )
    return 1, history


def test_a_run_with_patience_is_the_first_epochs_of_the_run_without(project, trained, stopping):  # noqa: F811
    patience, history = stopping
    end = last_epoch(history, 12, patience)
    patient = trained("train.epochs=12", f"train.patience={patience}")
    assert patient.costs == (0, end, 0), "all of it is there, and no state beyond its end is used"
    assert patient.history == history[:end]
    assert_same(patient._replace(run=patient.run), trained(f"train.epochs={end}"))
    from_nothing = trained("train.epochs=12", f"train.patience={patience}", ALONE)
    assert_same(from_nothing, patient)
    assert from_nothing.costs == (end, 0, end * STEPS)


def test_only_what_comes_before_its_end_is_trained(project, trained, stopping):  # noqa: F811
    """The state of the end was removed: an earlier one is gone on from, up to the end that a later one tells."""
    patience, history = stopping
    end = last_epoch(history, 12, patience)
    for path in project.path.glob(f"trajectories/*/{end:05}-*.npz"):
        path.unlink()
    again = trained("train.epochs=12", f"train.patience={patience}")
    assert again.costs == (1, end - 1, STEPS)
    assert again.history == history[:end]


def test_it_goes_on_after_a_crash_and_ends_where_it_would_have(project, trained, stopping, monkeypatch):  # noqa: F811
    from epochwise.training import loop
    from epochwise.training.learning_rate import learning_rate

    patience, history = stopping
    end = last_epoch(history, 12, patience)
    for path in project.path.glob("trajectories/*/*.npz"):
        path.unlink()

    def interrupt(train, epoch):
        if epoch == end:
            raise KeyboardInterrupt
        return learning_rate(train, epoch)

    with monkeypatch.context() as patched:
        patched.setattr(loop, "learning_rate", interrupt)
        with pytest.raises(KeyboardInterrupt):
            trained("train.epochs=12", f"train.patience={patience}")
    again = trained("train.epochs=12", f"train.patience={patience}")
    assert (again.costs, again.history) == ((1, end - 1, STEPS), history[:end])
    longer = trained("train.epochs=12")
    assert longer.costs[:2] == (12 - end, end) and longer.history == history


def test_a_process_that_waits_needs_no_epoch_beyond_its_end(tmp_path):
    """Another process holds the trajectory, and has written states beyond the end of the run that waits."""
    identity = {"a": 1}
    states = StateStore(tmp_path, identity, 1)
    history = made_history(0.5, 0.6, 0.6, 0.6)
    for epochs in range(1, 5):
        states.write([], history[:epochs], [0.0] * epochs)
    with states.turn_to_train(50), StateStore(tmp_path, identity, 1).turn_to_train(40, patience=2) as state:
        assert state is not None and state.epoch == 4
    with StateStore(tmp_path, identity, 1).turn_to_train(40, patience=1) as state:
        assert state is not None and state.epoch == 3


def test_states_tell_where_a_run_ends(tmp_path, capsys):
    states, key = StateStore(tmp_path, {"a": 1}, 1), trajectory_key({"a": 1})
    assert ends_in_store(tmp_path, key, 9, 2) == (3, 9)
    history = made_history(0.5, 0.6, 0.6, 0.6, 0.7)
    for epochs in (2, 5):
        states.write([], history[:epochs], [0.0] * epochs)
    assert ends_in_store(tmp_path, key, 9, None) == (9, 9)
    assert ends_in_store(tmp_path, key, 9, 2) == (4, 4)
    assert ends_in_store(tmp_path, key, 3, 2) == (3, 3), "train.epochs is less than its patience would allow"
    newest = states.newest(9, 2)
    assert newest is not None and newest.epoch == 2
    (path,) = tmp_path.glob("*/00005-*.npz")
    path.rename(path.with_name(path.name.replace("00005", "00006")))
    next(tmp_path.glob("*/00006-*.npz")).write_bytes(b"damaged")
    assert ends_in_store(tmp_path, key, 9, 2) == (3, 9), "a damaged state tells nothing"


def test_best_epoch_is_the_one_that_patience_counts_from():
    history = made_history(0.5, 0.7, 0.7, 0.6)
    assert last_epoch(history, 9, 2) - best_epoch(history)["epoch"] == 2


def test_the_data_decide_nothing_else(project):
    """A patience changes neither the data nor what is prepared of them."""
    assert prepared_for(load([])).sha256 == prepared_for(load(["train.patience=3"])).sha256
