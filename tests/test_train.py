"""Training as a function of (seed, epoch, step): same seed, same bits; fewer epochs, the first rows of more."""

import numpy as np
import pytest
from omegaconf import OmegaConf

from epochwise import RunError, config, history, rundir, sources
from epochwise.lineage import trace
from epochwise.pipeline import prepared_for
from epochwise.tracking import Run
from epochwise.train import batches, train


@pytest.fixture
def trained(project):
    """Train with overrides in a directory of its own, without MLflow; returns the directory and the record."""
    count = iter(range(100))

    def run(*overrides: str):
        cfg = config.load(["tracking=off", *overrides])
        prepared = prepared_for(cfg)
        folder = project.path / "outputs" / "test" / str(next(count))
        record = rundir.new_record(cfg, trace(project.path, cfg, list(overrides)), prepared.sha256)
        train(cfg, prepared, folder, Run(project.path), record)
        return folder, record

    return run


def test_same_seed_same_bits_another_seed_others(trained):
    first, record = trained()
    again, same = trained()
    _, other = trained("seed=1")
    assert record["weights_sha256"] == same["weights_sha256"] != other["weights_sha256"]
    for name in (rundir.CONFIG, rundir.HISTORY, rundir.MODEL):
        assert (first / name).read_bytes() == (again / name).read_bytes(), name
    assert record["steps_trained"] == 2 * 38  # 1,200 images in batches of 32, the last one of 16
    assert record["fingerprint"] == same["fingerprint"] != other["fingerprint"]


def test_fewer_epochs_are_the_first_of_more(trained):
    short, short_record = trained("train.epochs=1")
    long, long_record = trained("train.epochs=3")
    assert history.read(long / rundir.HISTORY)[:1] == history.read(short / rundir.HISTORY)
    assert [row["epoch"] for row in history.read(long / rundir.HISTORY)] == [1, 2, 3]
    assert short_record["trajectory"] == long_record["trajectory"]
    assert short_record["fingerprint"] != long_record["fingerprint"]


OTHERS = {  # every parameter that decides a training but train.threads, which a process sets once; with another value
    "seed": "1",
    "prepare.source": "own.npz",
    "prepare.validation_size": "200",
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
    "train.precision": "mixed_bfloat16",
}


def test_every_parameter_reaches_the_weights(trained, project):
    assert {*OTHERS, "train.threads"} == set(config.parameter_keys())
    raw = sources.load("digits", project.path)
    np.savez(project.path / "own.npz", **raw._replace(x_train=255 - raw.x_train)._asdict())
    weights = {trained("train.epochs=1")[1]["weights_sha256"]}
    for key, value in OTHERS.items():
        folder, record = trained(*([] if key == "train.epochs" else ["train.epochs=1"]), f"{key}={value}")
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
