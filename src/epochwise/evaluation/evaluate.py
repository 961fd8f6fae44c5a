"""Stage 3, evaluate: the test set scored, as metrics, a confusion matrix and pictures."""

import csv
import io
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from epochwise.common.errors import InputError
from epochwise.common.files import write_json, write_text
from epochwise.data.prepared import Prepared
from epochwise.evaluation import figures
from epochwise.runs import directory as rundir
from epochwise.training import history
from epochwise.training.backend import configure, keras
from epochwise.training.network import SCORING_BATCH, load_model, weights_sha256

WORST = 24  # mistakes shown


def evaluate(cfg: DictConfig, prepared: Prepared, trained: Path, folder: Path, record: dict) -> dict[str, float]:
    """Score the model in `trained` on the test set, write EVALUATED into `folder`; returns what metrics.json holds.

    Raises InputError if the model is not the one of `record`, so that no run is credited with another's score.
    """
    configure(cfg.train.threads)
    model = load_model(trained / rundir.MODEL)
    if weights_sha256(model) != record["weights_sha256"]:
        raise InputError(f"{trained / rundir.MODEL}: is not the model of run {record['run_id']} beside it; train again")
    images, labels = prepared.arrays("test")
    probabilities = model.predict(images, batch_size=SCORING_BATCH, verbose=0)
    actual, predicted = labels.argmax(axis=1), probabilities.argmax(axis=1)
    tested = {
        "test_loss": float(np.mean(keras.losses.categorical_crossentropy(labels, probabilities))),
        "test_accuracy": float(np.mean(actual == predicted)),
    }

    rows = history.read(trained / rundir.HISTORY)
    metrics = history.summary(rows) | tested
    _write_pairs(actual, predicted, folder / "confusion_matrix.csv")
    figures.confusion_matrix(count_pairs(actual, predicted, prepared.classes), folder / "confusion_matrix.png")
    validation = "the test set" if prepared.validates_on_test else "validation"
    figures.learning_curves(rows, folder / "learning_curves.png", validation)
    _draw_mistakes(images, actual, probabilities, folder / "mistakes.png")
    shown = int(np.random.default_rng(cfg.seed).integers(len(images)))
    figures.prediction(images[shown], probabilities[shown], int(actual[shown]), folder / "random_digit.png")
    write_json(folder / rundir.METRICS, metrics)
    return metrics


def count_pairs(actual: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Confusion matrix, classes×classes counts: rows are the actual class, columns the predicted one."""
    from sklearn.metrics import confusion_matrix

    return confusion_matrix(actual, predicted, labels=range(classes))


def _write_pairs(actual: np.ndarray, predicted: np.ndarray, path: Path) -> None:
    """One row a test image, which is what DVC's confusion template counts."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("actual", "predicted"))
    writer.writerows(zip(actual.tolist(), predicted.tolist(), strict=True))
    write_text(path, text.getvalue())


def _draw_mistakes(images: np.ndarray, actual: np.ndarray, probabilities: np.ndarray, path: Path) -> None:
    """The wrong predictions, the most confident first."""
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != actual)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:WORST]
    titles = [f"{actual[i]} taken for {predicted[i]}\n{confidence[i]:.1%} sure" for i in worst]
    heading = f"the {len(worst)} worst of {len(wrong)} mistakes" if len(wrong) else "no mistakes"
    figures.images(images[worst], titles, ["tab:red"] * len(worst), path, heading)
