"""The files that evaluate writes. Imports nothing, so that listing them costs nothing."""

CONFUSION_MATRIX = "confusion_matrix.csv"  # one row a test image: actual, predicted
MISTAKES = "mistakes.json"  # the most confident mistakes, with their images
CLASS_METRICS = "class_metrics.csv"  # precision, recall and F1 of each class
VALIDATION_PREDICTIONS = "validation_predictions.csv"  # one row a validation image: actual, predicted

TABLES = ("metrics.json", CONFUSION_MATRIX, CLASS_METRICS, MISTAKES, VALIDATION_PREDICTIONS)
PICTURES = ("confusion_matrix.png", "learning_curves.png", "mistakes.png", "random_digit.png")
EVALUATION_FILES = (*TABLES, *PICTURES)
