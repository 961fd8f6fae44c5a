"""The files that evaluate writes. Imports nothing, so that listing them costs nothing."""

CONFUSION_MATRIX = "confusion_matrix.csv"  # one row a test image: actual, predicted
MISTAKES = "mistakes.json"  # the most confident mistakes, with their images
CLASS_METRICS = "class_metrics.csv"  # precision, recall and F1 of each class

EVALUATION_FILES = (
    "metrics.json",
    CONFUSION_MATRIX,
    CLASS_METRICS,
    MISTAKES,
    "confusion_matrix.png",
    "learning_curves.png",
    "mistakes.png",
    "random_digit.png",
)
