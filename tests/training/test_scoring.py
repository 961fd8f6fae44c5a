"""The same weights and images give the same loss to the last bit, in training, in evaluate and in Keras itself."""

import numpy as np
import pytest

from epochwise.common.files import read_json
from epochwise.config.compose import load
from epochwise.config.limits import PRECISIONS
from epochwise.pipeline.run import run_configuration


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_loss_is_that_of_keras_for_very_confident_predictions_too(project, tensors, precision):
    from epochwise.training.backend import keras
    from epochwise.training.network import build_model
    from epochwise.training.scoring import SCORING_BATCH, Scorer

    model = build_model(load([]).model, (8, 8, 1), 10, precision, seed=0)
    model.compile(loss="categorical_crossentropy")
    *others, kernel, bias = model.get_weights()
    model.set_weights([*others, kernel * 300, bias])  # large inputs of the softmax
    draw = np.random.default_rng(0)
    images = draw.random((2 * SCORING_BATCH + 345, 8, 8, 1), np.float32)
    labels = np.eye(10, dtype=np.float32)[draw.integers(0, 10, len(images))]
    expected = model.evaluate(images, labels, batch_size=SCORING_BATCH, verbose=0)
    probabilities, loss = Scorer(model).score(images, labels)
    assert loss == expected
    np.testing.assert_array_equal(probabilities, model.predict(images, batch_size=SCORING_BATCH, verbose=0))
    assert (probabilities[labels == 1] < 1e-7).any()
    clipped = float(np.mean(keras.losses.categorical_crossentropy(labels, probabilities)))
    assert abs(clipped - loss) > 0.01, "the case in which the two ways of computing it differ"


@pytest.mark.parametrize("precision", PRECISIONS)
def test_where_the_test_set_is_the_validation_set_the_two_losses_are_equal(project, plain_pictures, precision):
    directory = project.path / "outputs" / "writeup"
    changes = [
        "prepare.source=digits",
        "train.epochs=1",
        "train.threads=1",
        f"train.precision={precision}",
        "tracking=off",
    ]
    run_configuration(load(["experiment=writeup", *changes]), directory, [])
    metrics = read_json(directory / "metrics.json")
    assert metrics["test_loss"] == metrics["val_loss"]
    assert metrics["test_accuracy"] == metrics["val_accuracy"]
