"""A model file depends on the weights and on nothing else, holds no optimizer, and executes nothing when it is read."""

import json
import time
import zipfile

import pytest

from epochwise.common.errors import InputError
from epochwise.config.compose import load
from epochwise.training.backend import keras
from epochwise.training.model_file import load_model, save_model, weights_sha256
from epochwise.training.network import build_model


@pytest.fixture
def cfg(project, tensors):
    return load(["experiment=writeup"])


def test_the_write_ups_model_file_holds_its_weights_and_no_optimizer(cfg, tmp_path):
    """1,199,882 float32 weights are 4.80 MB; Adam's moments would be twice as much again."""
    model = build_model(cfg.model, (28, 28, 1), 10, "float32", seed=0)
    save_model(model, tmp_path / "model.keras")
    assert 4 * 1_199_882 < (tmp_path / "model.keras").stat().st_size < 4 * 1_199_882 + 50_000
    assert not load_model(tmp_path / "model.keras").compiled
    assert weights_sha256(load_model(tmp_path / "model.keras")) == weights_sha256(model)


def test_a_model_file_depends_on_the_weights_alone(cfg, tmp_path, monkeypatch):
    model = build_model(cfg.model, (8, 8, 1), 10, "float32", seed=0)
    save_model(model, tmp_path / "one.keras")
    monkeypatch.setattr(time, "localtime", lambda *_: time.struct_time((2031, 2, 3, 4, 5, 6, 0, 34, 0)))
    again = build_model(cfg.model, (8, 8, 1), 10, "float32", seed=0)
    save_model(again, tmp_path / "two.keras")
    assert (tmp_path / "one.keras").read_bytes() == (tmp_path / "two.keras").read_bytes()
    assert weights_sha256(load_model(tmp_path / "one.keras")) == weights_sha256(model)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["one.keras", "two.keras"]


def crafted(path, layer: dict) -> None:
    """A sound `.keras` file whose first layer is another one."""
    save_model(build_model(load([]).model, (8, 8, 1), 10, "float32", 0), path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    about = json.loads(members["config.json"])
    about["config"]["layers"][1] = layer
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (members | {"config.json": json.dumps(about).encode()}).items():
            archive.writestr(name, content)


def lambda_layer() -> dict:
    layer = keras.layers.Lambda(lambda x: __import__("os").system("touch EXECUTED") or x, output_shape=(8, 8, 1))
    return keras.saving.serialize_keras_object(layer)


@pytest.mark.parametrize(
    "layer",
    [
        lambda_layer,
        lambda: {"module": "os", "class_name": "system", "config": {"command": "touch EXECUTED"}},
        lambda: {"module": "builtins", "class_name": "eval", "config": "open('EXECUTED', 'w')"},
        lambda: {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "EXECUTED"}},
        lambda: {
            "module": "keras.utils",
            "class_name": "get_file",
            "config": {"fname": "EXECUTED", "origin": "file:///etc/hostname"},
        },
    ],
)
def test_a_crafted_model_is_refused_and_executes_nothing(project, tensors, layer):
    crafted(project.path / "model.keras", layer())
    with pytest.raises(InputError, match="model.keras: not a readable Keras model"):
        load_model(project.path / "model.keras")
    assert not (project.path / "EXECUTED").exists()
