"""The files that evaluate writes. Imports nothing, so that listing them costs nothing."""

CONFUSION_MATRIX = "confusion_matrix.csv"  # one row a test image: actual, predicted

EVALUATION_FILES = (
    "metrics.json",
    CONFUSION_MATRIX,
    "confusion_matrix.png",
    "learning_curves.png",
    "mistakes.png",
    "random_digit.png",
)
