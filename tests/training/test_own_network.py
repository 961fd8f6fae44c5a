"""An own network is built as its file says, checked before it is trained, and refused in one line that says why."""

import signal
import sys
import textwrap

import numpy as np
import pytest

from epochwise.common.errors import InputError
from epochwise.config.compose import load
from epochwise.config.limits import PRECISIONS
from epochwise.training.backend import keras, tf
from epochwise.training.model_file import in_float32, load_model, save_model, weights_sha256
from epochwise.training.network import build_model, minimized_loss, training_pass_of
from epochwise.training.network_check import check_own_network

SHAPE, CLASSES = (8, 8, 1), 10
EXAMPLE = "model.network=networks/residual.py:build"
HEAD = "import keras\nfrom keras import layers\n\n\ndef build(image_shape, classes, width=4):\n"
LAYERS = (
    "[keras.Input(image_shape), layers.Flatten(), {}, layers.Dense(classes, activation='softmax', dtype='float32')]"
)
SEQUENTIAL = f"    return keras.Sequential({LAYERS})\n"
PLAIN = SEQUENTIAL.format("layers.Dense(width)")


@pytest.fixture
def own(project, tensors):
    """Write a network's file; returns the configuration that names it."""

    def write(text: str, *overrides: str, **helpers: str):
        for name, content in {"own": text, **helpers}.items():
            (project.path / "networks" / f"{name}.py").write_text(content)
        return load(["model.network=networks/own.py:build", *overrides])

    return write


def check(cfg, shape=SHAPE, classes=CLASSES) -> None:
    check_own_network(cfg, shape, classes)


def build(cfg, seed: int = 0) -> keras.Model:
    return build_model(cfg.model, SHAPE, CLASSES, cfg.train.precision, seed)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_example_is_sound(project, tensors, precision):
    cfg = load([EXAMPLE, f"train.precision={precision}", "model.parameters.width=6"])
    check(cfg)
    check(cfg, (28, 20, 3), 4)
    model = build(cfg)
    assert model.layers[1].filters == 6
    assert model.layers[1].compute_dtype == ("float32" if precision == "float32" else "bfloat16")
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert keras.config.dtype_policy().name == "float32", "is as it was"


def test_a_sequential_network_needs_no_input_layer(own):
    check(own(HEAD + SEQUENTIAL.format("layers.Dense(width)").replace("keras.Input(image_shape), ", "")))


def test_seed_decides_the_first_weights(own):
    cfg = own(HEAD + PLAIN)
    first, again, other = (weights_sha256(build(cfg, seed)) for seed in (0, 0, 1))
    assert first == again != other


def test_the_file_is_executed_as_it_is_now(own, project):
    """Python's compiled copy of a helper is taken for up to date if time and size are the same."""
    text = "from size import WIDTH\n" + HEAD + SEQUENTIAL.format("layers.Dense(WIDTH)")
    first = build(own(text, size="WIDTH = 3\n")).count_params()
    assert build(own(text, size="WIDTH = 5\n")).count_params() > first
    assert not list((project.path / "networks").rglob("__pycache__"))


def test_helpers_of_two_networks_may_have_the_same_name(own, project):
    (project.path / "other").mkdir()
    text = "from size import WIDTH\n" + HEAD + SEQUENTIAL.format("layers.Dense(WIDTH)")
    one = own(text, size="WIDTH = 3\n")
    (project.path / "other/own.py").write_text(text)
    (project.path / "other/size.py").write_text("WIDTH = 5\n")
    assert build(one).count_params() < build(load(["model.network=other/own.py:build"])).count_params()
    assert "size" not in sys.modules and str(project.path / "other") not in sys.path


ERRORS = {
    "raise ValueError('no\\nsuch width')": "networks/own.py:6: ValueError: no such width",
    "1 / 0": "networks/own.py:6: ZeroDivisionError: division by zero",
    "layers.Dense(width)(keras.Input((3,)))(1)": "networks/own.py:6: ",
    "keras.Sequential([keras.Input(image_shape), layers.Conv2D(3, 99)])": "networks/own.py:6: ValueError: ",
    "raise SystemExit(3)": "networks/own.py:6: SystemExit: 3",
    "import helper": "networks/helper.py:2: KeyError: 'a'",
    "import nowhere_at_all": "networks/own.py:6: ModuleNotFoundError: No module named 'nowhere_at_all'",
    "return None": "networks/own.py:build must return a Keras model, it returned NoneType",
    "return layers.Dense(3)": "networks/own.py:build must return a Keras model, it returned Dense",
}


@pytest.mark.parametrize("line", ERRORS)
def test_what_it_raises_is_one_line_with_the_place(own, line):
    with pytest.raises(InputError) as refused:
        check(own(f"{HEAD}    {line}\n", helper="x = {}\nx['a']\n"))
    assert str(refused.value).startswith(ERRORS[line]) and "\n" not in str(refused.value)


def test_an_argument_of_the_wrong_type_is_named_with_the_line(own):
    with pytest.raises(InputError, match=r"^networks/own.py:6: \w+: "):
        check(own(HEAD + PLAIN, "model.parameters.width=abc"))


@pytest.mark.parametrize("error", ["KeyboardInterrupt", f"SystemExit({128 + signal.SIGTERM})"])
def test_ctrl_c_and_sigterm_meanwhile_are_what_they_are(own, error):
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        check(own(f"{HEAD}    raise {error}\n"))


CUSTOM = """
    class Mine(layers.Layer):
        def call(self, x):
            return x * 2
"""
REGISTERED = CUSTOM.replace("    class", '    @keras.saving.register_keras_serializable("mine")\n    class')
STATEFUL = """
    import itertools
    numbers = itertools.count()
    class Mine(layers.Layer):
        def call(self, x):
            return x * next(numbers)
"""
FUNCTIONAL = """
    image = keras.Input(image_shape)
    x = layers.Dense(classes, activation="softmax")(layers.Flatten()(image))
"""
RETURNING = PLAIN.replace("return", "model =")
MODEL = """
    class Mine(keras.Model):
        def call(self, x):
            return x
    return Mine()
"""
CHANCE = "layers.Dense(3, kernel_initializer=keras.initializers.RandomNormal(seed=int.from_bytes(os.urandom(4))))"
NO_CODE = "cannot be read from a model file without running foreign code; use layers and functions of Keras's own"
WRONG = {
    PLAIN.replace(", activation='softmax'", ""): "gives ",
    PLAIN.replace("softmax", "sigmoid"): "gives probabilities that add up to ",
    PLAIN.replace("Dense(classes", "Dense(classes + 1"): "must have one output of shape (None, 10), it has (None, 11)",
    PLAIN.replace("layers.Flatten(), ", ""): "must have one output of shape (None, 10), it has (None, 8, 8, 10)",
    PLAIN.replace(
        "(image_shape)", "((8, 8, 3))"
    ): "must have one input of shape (None, 8, 8, 1), it has (None, 8, 8, 3)",
    f"{FUNCTIONAL}    return keras.Model(image, [x, x])\n": "must have one output of shape (None, 10), it has ",
    f"{RETURNING}    model.compile()\n    return model\n": "is compiled; leave out compile()",
    f"{RETURNING}    model.trainable = False\n    return model\n": "has no weights to train",
    SEQUENTIAL.format("layers.Lambda(lambda x: x)"): f"a Lambda layer or function {NO_CODE}",
    SEQUENTIAL.format("layers.Dense(3, activation=lambda x: x)"): f"a Lambda layer or function {NO_CODE}",
    f"    def mine(x):\n        return x\n{SEQUENTIAL.format('layers.Dense(3, activation=mine)')}": (
        f"the function mine {NO_CODE}"
    ),
    CUSTOM + SEQUENTIAL.format("Mine()"): f"the class Mine {NO_CODE}",
    REGISTERED + SEQUENTIAL.format("Mine()"): f"the class Mine {NO_CODE}",
    STATEFUL + SEQUENTIAL.format("Mine()"): f"the class Mine {NO_CODE}",
    MODEL: "returns a class of its own; return keras.Sequential",
    f"    import os\n{SEQUENTIAL.format(CHANCE)}": "each call makes other initial weights",
}


@pytest.mark.parametrize("body", WRONG)
def test_what_cannot_be_trained_exactly_or_read_by_others_is_refused(own, body):
    with pytest.raises(InputError) as refused:
        check(own(HEAD + body))
    assert str(refused.value).startswith(f"networks/own.py:build: {WRONG[body]}") and "\n" not in str(refused.value)


def test_a_softmax_in_bfloat16_is_refused(own):
    cfg = own(HEAD + PLAIN.replace(", dtype='float32'", ""), "train.precision=mixed_bfloat16")
    with pytest.raises(InputError, match='computes its output in bfloat16; give its last layer dtype="float32"'):
        check(cfg)


def test_state_that_no_variable_holds_is_found(own, monkeypatch):
    """As a layer of Keras's that counted for itself would have it."""
    counts = iter(range(100))
    call = keras.layers.Dense.call
    monkeypatch.setattr(keras.layers.Dense, "call", lambda self, x, **_: call(self, x) + float(next(counts)) * x[:, :1])
    with pytest.raises(
        InputError, match="trains otherwise when it starts again from the same state|is another network"
    ):
        check(own(HEAD + PLAIN))


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        (
            "importlib.import_module('hidden')",
            "imports networks/hidden.py so that it is not seen in the text; write `imp",
        ),
        (
            "sys.path.insert(0, OUTSIDE); importlib.import_module('outside')",
            "which is outside the project; copy it into",
        ),
    ],
)
def test_code_that_no_fingerprint_covers_is_refused(own, tmp_path, statement, says):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/outside.py").touch()
    text = f"import importlib, sys\nOUTSIDE = {str(tmp_path / 'elsewhere')!r}\n{HEAD}    {statement}\n{PLAIN}"
    with pytest.raises(InputError) as refused:
        check(own(text, hidden=""))
    assert says in str(refused.value)
    assert not {"hidden", "outside"} & set(sys.modules) - {"outside"}
    sys.modules.pop("outside", None)


def test_a_helper_with_the_name_of_another_module_is_refused(own):
    with pytest.raises(InputError, match=r"^networks/json.py: another module is called json, too; rename the file$"):
        check(own("import json\n" + HEAD + PLAIN, json=""))


def test_settings_of_keras_that_a_file_changes_do_not_stay(own):
    check(own("import keras\nkeras.config.set_floatx('float64')\nkeras.config.set_epsilon(0.1)\n" + HEAD + PLAIN))
    assert (keras.config.floatx(), keras.config.epsilon()) == ("float32", 1e-7)


def test_regularizers_count_in_what_is_minimized(own):
    cfg = own(HEAD + SEQUENTIAL.format("layers.Dense(4, kernel_regularizer='l2', activity_regularizer='l1')"))
    check(cfg)
    model, images = build(cfg), tf.ones([3, *SHAPE])
    training_pass_of(cfg.model.network)(model, images)
    penalty = 0.01 * float(tf.reduce_sum(tf.square(model.weights[0]))) + float(model.layers[1].losses[0])
    assert float(minimized_loss(model, tf.constant(2.0))) == pytest.approx(2 + penalty, rel=1e-5)
    assert penalty > 0.01


@pytest.mark.parametrize("precision", PRECISIONS)
def test_its_model_file_is_read_without_its_code_and_computes_the_same(project, tensors, precision):
    cfg = load([EXAMPLE, f"train.precision={precision}"])
    model = build(cfg)
    save_model(model, project.path / "model.keras")
    save_model(build(cfg), project.path / "again.keras")
    assert (project.path / "model.keras").read_bytes() == (project.path / "again.keras").read_bytes()
    (project.path / "networks/residual.py").write_text(textwrap.dedent("raise SystemExit('executed')"))
    images = np.random.default_rng(0).random((5, *SHAPE), np.float32)
    read = load_model(project.path / "model.keras")
    np.testing.assert_array_equal(read(images).numpy(), model(images).numpy())
    np.testing.assert_allclose(in_float32(read)(images).numpy(), model(images).numpy(), atol=0.02)
    assert {layer.compute_dtype for layer in in_float32(read).layers} == {"float32"}
