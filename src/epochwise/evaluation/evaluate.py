"""Evaluate a run: metrics.json, the confusion matrix and pictures."""

import csv
import io
from pathlib import Path

import numpy as np
from omegaconf import DictConfig
from sklearn.metrics import confusion_matrix

from epochwise.common.errors import InputError
from epochwise.common.files import write_json, write_text
from epochwise.data.prepared import PreparedData
from epochwise.evaluation import figures
from epochwise.evaluation.file_names import CONFUSION_MATRIX
from epochwise.runs.directory import RunDirectory
from epochwise.runs.record import RunRecord
from epochwise.training.backend import configure
from epochwise.training.history import summarize
from epochwise.training.model_file import load_model, weights_sha256
from epochwise.training.scoring import Scorer, accuracy

MAX_MISTAKES = 24  # shown in mistakes.png


def load_scorer(cfg: DictConfig, run: RunDirectory, record: RunRecord) -> Scorer:
    """The run's model, ready to score images.

    Raises InputError if the model is not the one of `record`, so that no run is credited with another's score.
    """
    configure(cfg.train.threads)
    model = load_model(run.model)
    if weights_sha256(model) != record.weights_sha256:
        raise InputError(f"{run.model}: is not the model of run {record.run_id} beside it; train again")
    return Scorer(model)


def evaluate(cfg: DictConfig, data: PreparedData, run: RunDirectory, scorer: Scorer) -> dict[str, float]:
    """Score the test set with the run's model, write EVALUATION_FILES, and return what metrics.json holds."""
    images, labels = data.arrays("test")
    probabilities, loss = scorer.score(images, labels)
    actual, predicted = labels.argmax(axis=1), probabilities.argmax(axis=1)
    history = run.read_history()
    metrics = summarize(history) | {"test_loss": loss, "test_accuracy": accuracy(probabilities, labels)}
    folder = run.evaluation
    _write_pairs(actual, predicted, folder / CONFUSION_MATRIX)
    counts = confusion_matrix(actual, predicted, labels=range(data.meta.classes))
    figures.confusion_matrix(counts, folder / "confusion_matrix.png")
    validation = "the test set" if data.validates_on_test else "validation"
    figures.learning_curves(history, folder / "learning_curves.png", validation)
    _draw_mistakes(images, actual, probabilities, folder / "mistakes.png")
    shown = int(np.random.default_rng(cfg.seed).integers(len(images)))
    figures.prediction(images[shown], probabilities[shown], int(actual[shown]), folder / "random_digit.png")
    write_json(run.metrics, metrics)
    return metrics


def _write_pairs(actual: np.ndarray, predicted: np.ndarray, path: Path) -> None:
    """One row a test image: the form that DVC's confusion template counts."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("actual", "predicted"))
    writer.writerows(zip(actual.tolist(), predicted.tolist(), strict=True))
    write_text(path, text.getvalue())


def _draw_mistakes(images: np.ndarray, actual: np.ndarray, probabilities: np.ndarray, path: Path) -> None:
    """The images with a wrong prediction, the most confident predictions first."""
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != actual)
    shown = wrong[np.argsort(-confidence[wrong], kind="stable")][:MAX_MISTAKES]
    titles = [f"{actual[i]} taken for {predicted[i]}\n{confidence[i]:.1%} sure" for i in shown]
    heading = f"the {len(shown)} most confident of {len(wrong)} mistakes" if len(wrong) else "no mistakes"
    figures.images(images[shown], titles, ["tab:red"] * len(shown), path, heading)
