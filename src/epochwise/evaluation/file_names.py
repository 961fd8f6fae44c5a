"""The files that evaluate writes. Imports nothing, so that listing them costs nothing."""

CONFUSION_MATRIX = "confusion_matrix.csv"  # one row a test image: actual, predicted
MISTAKES = "mistakes.json"  # the most confident mistakes, with their images
CLASS_METRICS = "class_metrics.csv"  # precision, recall and F1 of each class
VALIDATION_PREDICTIONS = "validation_predictions.csv"  # one row a validation image: actual, predicted

PICTURES = ("confusion_matrix.png", "learning_curves.png", "mistakes.png", "random_digit.png")
SHOWN = ("metrics.json", CONFUSION_MATRIX, *PICTURES)  # what people look at in MLflow: an artifact each
PACKED = (CLASS_METRICS, MISTAKES, VALIDATION_PREDICTIONS)  # what programs read: one artifact for all
EVALUATION_FILES = (*SHOWN, *PACKED)
