"""A run of E epochs is the first E epochs of its trajectory, to the bit, whichever epochs it takes from the store."""

import random
import re
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from omegaconf import OmegaConf

from epochwise.common.errors import RunError
from epochwise.config.compose import load
from epochwise.config.limits import PRECISIONS
from epochwise.config.schema import parameter_keys
from epochwise.data.sources import load_images
from epochwise.pipeline.datasets import prepared_for
from epochwise.pipeline.directories import state_store
from epochwise.runs.directory import RunDirectory
from epochwise.training.history import History
from epochwise.trajectory import identity, resume
from epochwise.trajectory.resume import Progress

ALONE = "train.reuse=false"
STEPS = 38  # of an epoch: 1,200 images in batches of 32, the last one of 16


class Trained(NamedTuple):
    weights: str  # sha256
    history: History
    progress: Progress
    run: RunDirectory

    @property
    def costs(self) -> tuple[int, int, int]:
        progress = self.progress
        return progress.epochs_trained, progress.epochs_reused, progress.steps_trained


KEPT_ALONE: dict[tuple[str, ...], Trained] = {}  # by overrides, for tests that compare with a training from nothing


@pytest.fixture
def alone(trained, tmp_path_factory):
    """The result of a training from nothing. It is a function of its overrides, so it is trained once for all tests."""

    def train(*overrides: str) -> Trained:
        if overrides not in KEPT_ALONE:
            result = trained(ALONE, *overrides)
            kept = tmp_path_factory.mktemp("alone") / "run"
            shutil.copytree(result.run.path, kept)
            KEPT_ALONE[overrides] = result._replace(run=RunDirectory(kept))
        return KEPT_ALONE[overrides]

    return train


@pytest.fixture
def trained(project, tensors):
    """Train with overrides; the model is written to a directory of its own."""
    from epochwise.training.model_file import save_model, weights_sha256

    numbers = iter(range(100))

    def train(*overrides: str) -> Trained:
        cfg = load(list(overrides))
        run, reports = RunDirectory(project.path / "outputs" / "test" / str(next(numbers))), []
        training = resume.train(cfg, prepared_for(cfg), state_store(cfg), reports.append)
        run.write_history(training.history)
        run.write_config(cfg)
        save_model(training.model, run.model)
        return Trained(weights_sha256(training.model), training.history, reports[-1], run)

    return train


def assert_same(one: Trained, other: Trained) -> None:
    assert one.weights == other.weights
    assert one.run.history.read_bytes() == other.run.history.read_bytes()
    assert one.run.model.read_bytes() == other.run.model.read_bytes()


@pytest.mark.parametrize(
    "precision", [pytest.param(name, marks=[] if name == "float32" else pytest.mark.slow) for name in PRECISIONS]
)
def test_each_epoch_is_trained_once_and_nothing_changes(trained, alone, precision):
    for epochs, costs in ((2, (2, 0, 2 * STEPS)), (4, (2, 2, 2 * STEPS)), (1, (0, 1, 0)), (4, (0, 4, 0))):
        shared = trained(f"train.epochs={epochs}", f"train.precision={precision}")
        assert_same(shared, alone(f"train.epochs={epochs}", f"train.precision={precision}"))
        assert shared.costs == costs
        assert bool(shared.progress.train_seconds) == bool(costs[0])
        assert len(shared.progress.seconds) == epochs and min(shared.progress.seconds) > 0


@pytest.mark.slow
@pytest.mark.parametrize("schedule", [["train.decay_every=1"], ["train.cooldown_epochs=1"]])
def test_schedules_share_epochs_and_nothing_changes(trained, alone, schedule):
    """What comes before a cooldown is shared with a constant rate; the cooldown belongs to the run's own length."""
    trained("train.epochs=2", *schedule)
    if "train.cooldown_epochs=1" in schedule:
        assert trained("train.epochs=1").costs == (0, 1, 0)
        assert trained("train.epochs=2").costs == (1, 1, STEPS)
    longer = trained("train.epochs=4", *schedule)
    assert longer.costs[:2] == (2, 2)
    assert_same(longer, alone("train.epochs=4", *schedule))
    assert trained("train.epochs=4", *schedule).costs == (0, 4, 0)


def test_a_cooldown_from_an_empty_store_is_the_same_training(trained, alone):
    schedule = ["train.epochs=3", "train.cooldown_epochs=2"]
    assert_same(trained(*schedule), alone(*schedule))


OWN_NETWORK = ["model.network=networks/residual.py:build", "model.parameters.width=4", "model.parameters.blocks=1"]
AUGMENTED = [
    *("train.augment.shift=0.1", "train.augment.rotation=20", "train.augment.zoom=0.2"),
    "train.augment.horizontal_flip=true",
]
KINDS = {  # what a training can be of; each has states of its own kind
    "own": OWN_NETWORK,  # the moving averages of batch normalization, and dropout's seed state
    "sgd": ["train.optimizer=sgd", "train.learning_rate=0.01"],
    "momentum": ["train.optimizer=sgd", "train.learning_rate=0.01", "train.momentum=0.9", "train.nesterov=true"],
    "adamw": ["train.optimizer=adamw", "train.weight_decay=0.01"],
    "augmented": AUGMENTED,
    "all": [*OWN_NETWORK, *AUGMENTED, "train.optimizer=sgd", "train.momentum=0.9", "train.weight_decay=0.001"],
}


@pytest.mark.parametrize(
    ("kind", "precision"),
    [
        pytest.param(kind, name, marks=[] if (kind, name) == ("all", "float32") else pytest.mark.slow)
        for kind in KINDS
        for name in PRECISIONS
    ],
)
def test_networks_optimizers_and_augmentation_go_on_to_the_bit(trained, alone, kind, precision):
    """Prefixes and resumed runs, also with the end of a schedule that the longer run does not share."""
    given = [*KINDS[kind], f"train.precision={precision}"]
    for epochs, costs in ((1, (1, 0, STEPS)), (3, (2, 1, 2 * STEPS)), (2, (0, 2, 0))):
        shared = trained(f"train.epochs={epochs}", *given)
        assert shared.costs == costs
        assert_same(shared, alone(f"train.epochs={epochs}", *given))
    cooled = [*given, "train.epochs=3", "train.cooldown_epochs=1"]
    assert_same(trained(*cooled), alone(*cooled))


def test_same_seed_same_bits_another_seed_others(trained, project):
    first, again, other = trained(ALONE), trained(ALONE), trained(ALONE, "seed=1", "train.epochs=1")
    assert_same(first, again)
    assert first.weights != other.weights
    assert first.run.config.read_bytes() == again.run.config.read_bytes()
    assert first.costs == (2, 0, 2 * STEPS)
    assert not (project.path / "trajectories").exists()


def test_fewer_epochs_are_the_first_of_more(alone):
    precision = "train.precision=float32"
    short, long = alone("train.epochs=1", precision), alone("train.epochs=4", precision)
    assert long.history[:1] == short.history
    assert [row["epoch"] for row in long.history] == [1, 2, 3, 4]


def test_keras_settings_of_the_user_change_nothing(trained, alone):
    from epochwise.training.backend import keras

    precision = "train.precision=float32"
    plain = alone("train.epochs=2", precision)
    keras.config.set_epsilon(1e-3)
    keras.config.set_max_epochs(1)
    keras.config.set_max_steps_per_epoch(3)
    assert_same(trained(ALONE, "train.epochs=2", precision), plain)


def test_code_that_was_edited_before_it_was_imported_does_not_train(trained, monkeypatch):
    identity.check_code.cache_clear()
    with monkeypatch.context() as patched:
        patched.setitem(identity.PROCESS, "code", {"training/loop.py": "another"})
        with pytest.raises(RunError, match="was edited while this process started"):
            trained()
    trained("train.epochs=1")


def test_an_interrupted_training_loses_only_the_epoch_in_flight(trained, alone, monkeypatch):
    from epochwise.training import loop
    from epochwise.training.learning_rate import learning_rate

    def interrupt(train, epoch):
        if epoch == 3:
            raise KeyboardInterrupt
        return learning_rate(train, epoch)

    with monkeypatch.context() as patched:
        patched.setattr(loop, "learning_rate", interrupt)
        with pytest.raises(KeyboardInterrupt):
            trained("train.epochs=4")
    again = trained("train.epochs=4")
    assert again.costs == (2, 2, 2 * STEPS)
    assert_same(again, alone("train.epochs=4", "train.precision=float32"))


@pytest.mark.slow
def test_a_flipped_bit_in_any_state_changes_no_result(trained, alone, project, capsys):
    draw = random.Random(0)
    trained("train.epochs=3")
    for epoch in (1, 2, 3):
        (path,) = project.path.glob(f"trajectories/*/0000{epoch}-*.npz")
        content = bytearray(path.read_bytes())
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        path.write_bytes(content)
        assert_same(trained(f"train.epochs={epoch}"), alone(f"train.epochs={epoch}"))
        assert_same(trained("train.epochs=3"), alone("train.epochs=3"))
        assert f"{path}: damaged" in capsys.readouterr().err


OTHER_VALUES = {  # another value for every parameter that decides a training, but train.threads, set once a process
    "seed": "1",
    "prepare.source": "own.npz",
    "prepare.validation_size": "200",
    "prepare.train_size": "600",
    "prepare.split_seed": "1",
    "prepare.test_size": "300",
    "prepare.pixel_max": "510.0",
    "prepare.image_size": "10",
    "prepare.transpose": "true",
    "model.network": "networks/residual.py:build",
    "model.parameters": "{width:6}",
    "model.filters": "[32,63]",
    "model.kernel_size": "2",
    "model.pool_size": "3",
    "model.conv_dropout": "0.3",
    "model.dense_dropout": "0.4",
    "model.dense_units": "127",
    "train.epochs": "2",
    "train.batch_size": "33",
    "train.optimizer": "sgd",
    "train.learning_rate": "0.002",
    "train.beta_1": "0.8",
    "train.beta_2": "0.99",
    "train.epsilon": "0.001",
    "train.momentum": "0.9",
    "train.nesterov": "true",
    "train.weight_decay": "0.01",
    "train.decay_every": "1",
    "train.decay_factor": "0.3",
    "train.cooldown_epochs": "1",
    "train.precision": "mixed_bfloat16",
    "train.augment.shift": "0.1",
    "train.augment.rotation": "15.0",
    "train.augment.zoom": "0.2",
    "train.augment.horizontal_flip": "true",
}
SGD = ["train.epochs=1", "train.optimizer=sgd"]
BESIDE = {  # what must be set for a parameter to have an effect
    "train.epochs": [],
    "prepare.test_size": ["train.epochs=1", "prepare.source=one_set.npz"],
    "prepare.pixel_max": ["train.epochs=1", "prepare.source=own.npz"],
    "model.parameters": ["train.epochs=1", "model.network=networks/residual.py:build"],
    "train.momentum": SGD,
    "train.nesterov": [*SGD, "train.momentum=0.5"],
    "train.weight_decay": SGD,
    "train.decay_every": ["train.epochs=2"],
    "train.decay_factor": ["train.epochs=2", "train.decay_every=1"],
}


@pytest.mark.slow
def test_every_parameter_reaches_the_weights(trained, project):
    # train.patience is in test_patience.py: it gives the weights of another epoch, or none of its own.
    assert {*OTHER_VALUES, "train.threads", "train.patience"} == set(parameter_keys())
    raw = load_images("digits", Path())
    np.savez(project.path / "own.npz", **raw._replace(x_train=255 - raw.x_train)._asdict())
    np.savez(project.path / "one_set.npz", x=255 - raw.x_train, y=raw.y_train)
    weights = {trained("train.epochs=1").weights}
    for key, value in OTHER_VALUES.items():
        beside = BESIDE.get(key, ["train.epochs=1"])
        result = trained(*beside, f"{key}={value}")
        written = OmegaConf.select(OmegaConf.load(result.run.config), key)
        plain = OmegaConf.to_container(written) if OmegaConf.is_config(written) else written
        assert re.sub("[' ]", "", str(plain)).replace("True", "true") == value
        assert result.weights not in weights, key
        weights.add(result.weights)
