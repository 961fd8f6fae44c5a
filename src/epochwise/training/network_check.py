"""What is checked of an own network before it is trained: its shapes, its file, and that its training is exact."""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from omegaconf import DictConfig

from epochwise.common.errors import InputError, one_line
from epochwise.training.backend import configure, keras, tf
from epochwise.training.network import build_model, minimized_loss, training_pass_of
from epochwise.training.network_source import is_own

IMAGES = 4  # of random pixels, on which a network is tried
LAMBDA = "a Lambda layer or function"
KERAS = "keras"  # the package whose classes a `.keras` file may name
LONGEST_REASON = 200  # characters of an error of Keras's


def check_own_network(cfg: DictConfig, image_shape: Sequence[int], classes: int) -> None:
    """Build the network of `cfg` and try it, if it is an own one. Fixes the number of threads, as a training does.

    Raises InputError unless it maps images of H×W×C to the probabilities of the classes, can be read from a `.keras`
    file without its own code, and computes the same bits again from the same variables.
    """
    if not is_own(cfg.model.network):
        return
    configure(cfg.train.threads)
    model, again = (build_model(cfg.model, image_shape, classes, cfg.train.precision, cfg.seed) for _ in range(2))
    configure(cfg.train.threads)  # undoes what the file may have set
    problem = next(_problems(cfg, model, again, (*image_shape,), classes), None)
    if problem:
        raise InputError(f"{cfg.model.network}: {problem}")


def _problems(
    cfg: DictConfig, model: keras.Model, again: keras.Model, image_shape: tuple[int, ...], classes: int
) -> Iterator[str]:
    """What is wrong with a network; later problems are looked for once there are no earlier ones.

    `again` is what a second call of the function returned.
    """
    yield from _problems_of_form(model, image_shape, classes)
    yield from _problems_of_file(model)
    if not _same(model.get_weights(), again.get_weights()):
        yield "each call makes other initial weights; draw them with Keras's initializers or its random numbers"
    images = np.random.default_rng(0).random((IMAGES, *image_shape), np.float32)
    try:
        yield from _problems_of_probabilities(model, images)
        yield from _problems_of_training(cfg, model, images, classes)
    except Exception as error:  # Keras's and TensorFlow's, which have no common class
        yield f"cannot be trained: {_reason(error)}"


def _problems_of_form(model: keras.Model, image_shape: tuple[int, ...], classes: int) -> Iterator[str]:
    if type(model).__module__.partition(".")[0] != KERAS:
        yield "returns a class of its own; return keras.Sequential(…) or keras.Model(inputs, outputs)"
        return
    for what, tensors, expected in (
        ("input", model.inputs, (None, *image_shape)),
        ("output", model.outputs, (None, classes)),
    ):
        shapes = [tuple(tensor.shape) for tensor in tensors]
        if shapes != [expected]:
            yield f"must have one {what} of shape {expected}, it has {', '.join(map(str, shapes)) or 'none'}"
    if model.outputs[0].dtype != "float32":
        yield f'computes its output in {model.outputs[0].dtype}; give its last layer dtype="float32"'
    if model.compiled:
        yield "is compiled; leave out compile(): optimizer and loss are those of params.yaml"
    if not model.trainable_variables:
        yield "has no weights to train"


def _problems_of_file(model: keras.Model) -> Iterator[str]:
    """What keeps others from reading the network: layers and functions whose code is in no `.keras` file."""
    try:
        with warnings.catch_warnings(record=True, action="always") as caught:
            saved = keras.saving.serialize_keras_object(model)
    except Exception as error:  # whatever a layer's get_config raises
        yield f"cannot be saved: {_reason(error)}"
        return
    lambdas = [LAMBDA for warning in caught if "lambda" in str(warning.message)]  # of which Keras saves no name
    foreign = sorted({*lambdas, *_foreign(saved)})
    if foreign:
        yield (
            f"{', '.join(foreign)} cannot be read from a model file without running foreign code; "
            "use layers and functions of Keras's own"
        )
        return
    try:
        copy = keras.saving.deserialize_keras_object(saved, safe_mode=True)
        copy.set_weights(model.get_weights())
        images = np.random.default_rng(1).random((IMAGES, *model.input_shape[1:]), np.float32)
        same = _same(*([network(images, training=False).numpy()] for network in (model, copy)))
    except Exception as error:  # Keras's own, of which a file that it cannot read has many
        yield f"cannot be read from a model file: {_reason(error)}"
        return
    if not same:
        yield "is another network once it was saved and read again; use layers of Keras's own"


def _foreign(saved: Any) -> Iterator[str]:
    """The names of classes and functions in a saved network that are not Keras's."""
    if isinstance(saved, dict):
        name, module = saved.get("class_name"), saved.get("module")
        if name == "Lambda":
            yield LAMBDA
        elif name == "function":
            yield f"the function {saved.get('config')}"
        elif name and module and str(module).partition(".")[0] != KERAS:
            yield f"the class {name}"
        saved = list(saved.values())
    if isinstance(saved, (list, tuple)):
        for item in saved:
            yield from _foreign(item)


def _problems_of_probabilities(model: keras.Model, images: np.ndarray) -> Iterator[str]:
    probabilities = model(images, training=False).numpy()
    if not (np.isfinite(probabilities).all() and (probabilities >= 0).all()):
        yield "gives no probabilities; end it with a softmax"
    elif not np.allclose(probabilities.sum(axis=1), 1, atol=1e-3):
        yield f"gives probabilities that add up to {probabilities[0].sum():.3g}, not to 1; end it with a softmax"


def _problems_of_training(cfg: DictConfig, model: keras.Model, images: np.ndarray, classes: int) -> Iterator[str]:
    """Two training passes from the same variables must be the same, for this is all that a state holds."""
    labels = np.eye(classes, dtype=np.float32)[np.arange(IMAGES) % classes]
    before = [variable.numpy() for variable in model.variables]
    passes = []
    for _ in range(2):
        for variable, value in zip(model.variables, before, strict=True):
            variable.assign(value)
        with tf.GradientTape() as tape:
            probabilities = training_pass_of(cfg.model.network)(model, tf.constant(images))
            loss = minimized_loss(model, keras.losses.CategoricalCrossentropy()(labels, probabilities))
        gradients = tape.gradient(loss, model.trainable_variables)
        unused = [
            variable.path
            for variable, gradient in zip(model.trainable_variables, gradients, strict=True)
            if gradient is None
        ]
        if unused:
            yield f"its output does not depend on {', '.join(unused[:3])}; leave that out, or set trainable=False"
            return
        results = [tf.convert_to_tensor(result).numpy() for result in (loss, *gradients)]
        passes.append(results + [variable.numpy() for variable in model.variables])
    if not _same(*passes):
        yield "trains otherwise when it starts again from the same state; which layer draws without a Keras seed?"


def _same(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    """Whether two lists of arrays are the same to the bit."""
    return [array.tobytes() for array in one] == [array.tobytes() for array in other]


def _reason(error: Exception) -> str:
    return one_line(error)[:LONGEST_REASON] or type(error).__name__
