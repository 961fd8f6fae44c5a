"""Evaluate a run: metrics.json, the confusion matrix and pictures."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from omegaconf import DictConfig
from sklearn.metrics import confusion_matrix

from epochwise.common.errors import InputError
from epochwise.common.files import write_json, write_text
from epochwise.data.prepared import PreparedData
from epochwise.evaluation import figures
from epochwise.evaluation.class_metrics import ClassMetrics, class_metrics
from epochwise.evaluation.file_names import CLASS_METRICS, CONFUSION_MATRIX, MISTAKES, VALIDATION_PREDICTIONS
from epochwise.evaluation.validation_predictions import HEADS
from epochwise.runs.directory import RunDirectory
from epochwise.runs.record import RunRecord
from epochwise.training.backend import configure
from epochwise.training.history import summarize
from epochwise.training.model_file import load_model, weights_sha256
from epochwise.training.scoring import Scorer, accuracy

MAX_MISTAKES = 24  # shown in mistakes.png, and kept with their images in mistakes.json


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
    names = data.meta.class_names or [str(number) for number in range(data.meta.classes)]
    history = run.read_history()
    metrics = summarize(history) | {"test_loss": loss, "test_accuracy": accuracy(probabilities, labels)}
    folder = run.evaluation
    _write_table(folder / CONFUSION_MATRIX, HEADS, zip(actual, predicted, strict=True))
    validated = (actual, predicted) if data.validates_on_test else _classify(scorer, *data.arrays("validation"))
    _write_table(folder / VALIDATION_PREDICTIONS, HEADS, zip(*validated, strict=True))
    counts = confusion_matrix(actual, predicted, labels=range(data.meta.classes))
    by_class = class_metrics(counts.tolist())
    rows = [(name, *values) for name, values in zip(names, by_class, strict=True)]
    _write_table(folder / CLASS_METRICS, ("class", *ClassMetrics._fields), rows)
    mistakes = _most_confident_mistakes(actual, probabilities)
    _write_mistakes(folder / MISTAKES, mistakes, images, actual, probabilities)
    figures.confusion_matrix(counts, by_class, names, folder / "confusion_matrix.png")
    validation = "the test set" if data.validates_on_test else "validation"
    figures.learning_curves(history, folder / "learning_curves.png", validation)
    _draw_mistakes(folder / "mistakes.png", mistakes, images, actual, probabilities, names)
    shown = int(np.random.default_rng(cfg.seed).integers(len(images)))
    figures.prediction(images[shown], probabilities[shown], int(actual[shown]), names, folder / "random_digit.png")
    write_json(run.metrics, metrics)
    return metrics


def _classify(scorer: Scorer, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The actual and the predicted class of each image."""
    return labels.argmax(axis=1), scorer.score(images, labels)[0].argmax(axis=1)


def _write_table(path: Path, heads: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    """Write a CSV. confusion_matrix.csv has one row a test image: the form that DVC's confusion template counts."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def _most_confident_mistakes(actual: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Indices of all images with a wrong prediction, the most confident predictions first."""
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != actual)
    return wrong[np.argsort(-probabilities.max(axis=1)[wrong], kind="stable")]


def _write_mistakes(
    path: Path, mistakes: np.ndarray, images: np.ndarray, actual: np.ndarray, probabilities: np.ndarray
) -> None:
    """Write mistakes.json: how many there are, and the first of them with their images, for the report."""
    shown = [
        {
            "index": int(index),
            "actual": int(actual[index]),
            "predicted": int(probabilities[index].argmax()),
            "probability": float(probabilities[index].max()),
            "png": figures.as_png(images[index]),
        }
        for index in mistakes[:MAX_MISTAKES]
    ]
    write_json(path, {"test_images": len(actual), "count": len(mistakes), "mistakes": shown})


def _draw_mistakes(
    path: Path,
    mistakes: np.ndarray,
    images: np.ndarray,
    actual: np.ndarray,
    probabilities: np.ndarray,
    names: Sequence[str],
) -> None:
    shown = mistakes[:MAX_MISTAKES]
    titles = [
        f"{names[actual[index]]} taken for {names[row.argmax()]}\n{row.max():.1%} sure"
        for index, row in zip(shown, probabilities[shown], strict=True)
    ]
    heading = f"the {len(shown)} most confident of {len(mistakes)} mistakes" if len(mistakes) else "no mistakes"
    figures.images(images[shown], titles, ["tab:red"] * len(shown), path, heading)
