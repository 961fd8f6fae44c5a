"""Training as a function of (seed, epoch, step): same seed, same bits; fewer epochs, the first rows of more."""

import gc
import random

import numpy as np
import pytest
from omegaconf import OmegaConf

from epochwise.common.errors import RunError
from epochwise.config import compose as config
from epochwise.data import sources
from epochwise.pipeline.stages import prepared_for, store
from epochwise.runs import directory as rundir
from epochwise.runs.lineage import trace
from epochwise.training import history
from epochwise.training.loop import batches, train
from epochwise.trajectory.identity import identity as trajectory


@pytest.fixture
def trained(project):
    """Train with overrides in a directory of its own, without MLflow; returns the directory and the record."""
    count = iter(range(100))

    def run(*overrides: str):
        cfg = config.load(["tracking=off", *overrides])
        prepared = prepared_for(cfg)
        folder = project.path / "outputs" / "test" / str(next(count))
        record = rundir.new_record(cfg, "test", trace(project.path, cfg, list(overrides)), prepared)
        train(cfg, prepared, folder, record, store(cfg), lambda record: None)
        return folder, record

    return run


ALONE = "train.reuse=false"


def assert_same(one, other) -> None:
    """Two results of `trained` are the same to the bit."""
    assert one[1]["weights_sha256"] == other[1]["weights_sha256"]
    for name in (rundir.HISTORY, rundir.MODEL):
        assert (one[0] / name).read_bytes() == (other[0] / name).read_bytes(), name


def paid(result) -> tuple[int, int, int]:
    return tuple(result[1][key] for key in ("epochs_trained", "epochs_reused", "steps_trained"))


@pytest.mark.parametrize("precision", config.PRECISIONS)
def test_each_epoch_is_paid_for_once_and_nothing_changes(trained, precision, capsys):
    alone = {epochs: trained(ALONE, f"train.epochs={epochs}", f"train.precision={precision}") for epochs in (1, 2, 4)}
    capsys.readouterr()
    for epochs, costs in ((2, (2, 0, 76)), (4, (2, 2, 76)), (1, (0, 1, 0)), (4, (0, 4, 0))):
        shared = trained(f"train.epochs={epochs}", f"train.precision={precision}")
        assert_same(shared, alone[epochs])
        assert paid(shared) == costs
        said = f"epochs 1…{costs[1]} of {epochs} reused from trajectories/{shared[1]['trajectory']}"
        assert (said in capsys.readouterr().out) == bool(costs[1])
        assert bool(shared[1]["train_seconds"]) == bool(costs[0])
        assert shared[1]["trajectory_seconds"] > 0


@pytest.mark.parametrize("schedule", [["train.decay_every=1"], ["train.cooldown_epochs=1"]])
def test_schedules_share_epochs_and_nothing_changes(trained, schedule):
    """A cooldown's trunk is that of a constant rate; what comes after it is of the run's own length."""
    trained("train.epochs=2", *schedule)
    if "train.cooldown_epochs=1" in schedule:
        assert paid(trained("train.epochs=1")) == (0, 1, 0)
        assert paid(trained("train.epochs=2")) == (1, 1, 38)
    longer = trained("train.epochs=4", *schedule)
    assert paid(longer)[:2] == (2, 2)
    assert_same(longer, trained(ALONE, "train.epochs=4", *schedule))
    assert paid(trained("train.epochs=4", *schedule)) == (0, 4, 0)


def test_a_cooldown_from_an_empty_store_is_one_training_all_the_same(trained):
    schedule = ["train.epochs=3", "train.cooldown_epochs=2"]
    assert_same(trained(*schedule), trained(ALONE, *schedule))


def test_what_a_user_has_set_in_keras_changes_nothing(trained):
    from epochwise.training.backend import keras

    plain = trained(ALONE)
    keras.config.set_epsilon(1e-3)
    keras.config.set_max_epochs(1)
    keras.config.set_max_steps_per_epoch(3)
    assert_same(trained(ALONE), plain)


def test_code_that_was_edited_before_it_was_loaded_does_not_train(trained, monkeypatch):
    trajectory.check_code.cache_clear()
    with monkeypatch.context() as patched:
        patched.setitem(trajectory.PROCESS, "code", {"train.py": "another"})
        with pytest.raises(RunError, match="was edited while this process started"):
            trained()
    trained("train.epochs=1")


def test_an_interrupted_training_loses_the_epoch_in_flight_only(trained, monkeypatch):
    alone = trained(ALONE, "train.epochs=3")
    from epochwise.training.loop import _Teller

    def interrupt(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(_Teller, "on_epoch_begin", interrupt)
        with pytest.raises(KeyboardInterrupt):
            trained("train.epochs=3")
    again = trained("train.epochs=3")
    assert paid(again) == (1, 2, 38)
    assert_same(again, alone)


@pytest.mark.slow
def test_a_flipped_byte_in_any_state_changes_no_result(trained, project, capsys):
    alone, draw = trained(ALONE, "train.epochs=3"), random.Random(0)
    trained("train.epochs=3")
    for epoch in (1, 2, 3):
        (path,) = project.path.glob(f"trajectories/*/0000{epoch}-*.npz")
        content = bytearray(path.read_bytes())
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        path.write_bytes(content)
        assert_same(trained(f"train.epochs={epoch}"), trained(ALONE, f"train.epochs={epoch}"))
        assert_same(trained("train.epochs=3"), alone)
        assert f"{path}: damaged" in capsys.readouterr().err


def test_same_seed_same_bits_another_seed_others(trained, project):
    first, record = trained(ALONE)
    again, same = trained(ALONE)
    _, other = trained(ALONE, "seed=1")
    assert record["weights_sha256"] == same["weights_sha256"] != other["weights_sha256"]
    for name in (rundir.CONFIG, rundir.HISTORY, rundir.MODEL):
        assert (first / name).read_bytes() == (again / name).read_bytes(), name
    assert not (project.path / "trajectories").exists()
    assert record["steps_trained"] == 2 * 38  # 1,200 images in batches of 32, the last one of 16
    assert record["fingerprint"] == same["fingerprint"] != other["fingerprint"]


def test_fewer_epochs_are_the_first_of_more(trained):
    short, short_record = trained(ALONE, "train.epochs=1")
    long, long_record = trained(ALONE, "train.epochs=3")
    assert history.read(long / rundir.HISTORY)[:1] == history.read(short / rundir.HISTORY)
    assert [row["epoch"] for row in history.read(long / rundir.HISTORY)] == [1, 2, 3]
    assert short_record["trajectory"] == long_record["trajectory"]
    assert short_record["fingerprint"] != long_record["fingerprint"]


OTHERS = {  # every parameter that decides a training but train.threads, which a process sets once; with another value
    "seed": "1",
    "prepare.source": "own.npz",
    "prepare.validation_size": "200",
    "prepare.train_size": "600",
    "prepare.split_seed": "1",
    "model.filters": "[32,63]",
    "model.kernel_size": "2",
    "model.pool_size": "3",
    "model.conv_dropout": "0.3",
    "model.dense_dropout": "0.4",
    "model.dense_units": "127",
    "train.epochs": "2",
    "train.batch_size": "33",
    "train.learning_rate": "0.002",
    "train.decay_every": "1",
    "train.decay_factor": "0.3",
    "train.cooldown_epochs": "1",
    "train.precision": "mixed_bfloat16",
}
BESIDE = {  # what must be set for a parameter to mean anything
    "train.epochs": [],
    "train.decay_every": ["train.epochs=2"],
    "train.decay_factor": ["train.epochs=2", "train.decay_every=1"],
}


@pytest.mark.slow
def test_every_parameter_reaches_the_weights(trained, project):
    assert {*OTHERS, "train.threads"} == set(config.parameter_keys())
    raw = sources.load("digits", project.path)
    np.savez(project.path / "own.npz", **raw._replace(x_train=255 - raw.x_train)._asdict())
    weights = {trained("train.epochs=1")[1]["weights_sha256"]}
    for key, value in OTHERS.items():
        beside = BESIDE.get(key, ["train.epochs=1"])
        folder, record = trained(*beside, f"{key}={value}")
        written = OmegaConf.select(OmegaConf.load(folder / rundir.CONFIG), key)
        assert str(list(written) if OmegaConf.is_list(written) else written).replace(" ", "") == value
        assert record["weights_sha256"] not in weights, key
        weights.add(record["weights_sha256"])


def test_it_learns(trained):
    folder, _ = trained("train.epochs=6")
    rows = history.read(folder / rundir.HISTORY)
    assert rows[-1]["loss"] < rows[0]["loss"] / 4
    assert rows[-1]["val_accuracy"] > 0.9


def test_diverging_training_is_a_failed_run_that_says_so(trained):
    with pytest.raises(RunError, match="training diverged in epoch .* lower train.learning_rate"):
        trained("train.learning_rate=1e38")


def test_each_epoch_has_every_example_once_in_an_order_of_its_own(tensors):
    images, labels = np.arange(10, dtype=np.float32)[:, None], np.eye(10, dtype=np.float32)
    seen = list(batches(images, labels, batch_size=4, seed=7, epochs=3).as_numpy_iterator())
    assert [len(x) for x, _ in seen] == [4, 4, 2] * 3
    for x, y in seen:
        np.testing.assert_array_equal(x[:, 0], y.argmax(axis=1))
    orders = [tuple(np.concatenate([x[:, 0] for x, _ in seen[start : start + 3]])) for start in (0, 3, 6)]
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert len(set(orders)) == 3
    again = list(batches(images, labels, batch_size=4, seed=7, epochs=3).as_numpy_iterator())
    assert all((x == z).all() for (x, _), (z, _) in zip(seen, again, strict=True))


def test_a_network_that_is_gone_leaves_none_of_its_graphs(trained):
    """TensorFlow keeps some 7 MB of each traced training, unless the worker that goes on is relieved of them."""
    from tensorflow import Graph

    from epochwise.training.graphs import release

    def kept() -> int:
        release()
        gc.collect()
        return sum(isinstance(thing, Graph) for thing in gc.get_objects())

    counts = []
    for seed in range(3):
        trained(ALONE, "train.epochs=1", f"seed={seed}")
        counts.append(kept())
    assert counts[2] <= counts[1]
