"""Draw pictures of a run with Matplotlib. The same numbers give the same bytes."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from epochwise.common.files import replacing
from epochwise.evaluation.class_metrics import ClassMetrics
from epochwise.training.history import History

matplotlib.rcParams["text.parse_math"] = False  # names of files and runs may hold a $, which is no formula
DPI = 120
TRAINING, VALIDATION, MARK, RIGHT = "#4c72b0", "#dd8452", "#555555", "#1f5fb0"


def confusion_matrix(matrix: np.ndarray, by_class: Sequence[ClassMetrics], names: Sequence[str], path: Path) -> None:
    """Draw counts of actual (rows) against predicted (columns), with the recall of each row and the precision of each
    column.

    Mistakes are coloured by their count: next to thousands of right images, shares would all look white.
    """
    classes = len(matrix)
    longest = 0.075 * max(map(len, names))  # inches that a name takes
    side = max(0.55, min(longest + 0.1, 0.9))
    figure, axes = plt.subplots(figsize=(2.4 + longest + side * classes, 1.9 + 0.55 * classes))
    _margins(figure, left=0.7 + longest, right=0.9, bottom=1.0, top=0.75)
    right = np.eye(classes, dtype=bool)
    mistakes = np.where(right, 0, matrix)
    shares = np.ma.masked_equal(mistakes, 0) / max(1, mistakes.max())
    axes.imshow(shares, cmap="Reds", vmin=0, vmax=1.6, aspect="auto")
    for row, column in np.ndindex(matrix.shape):
        if matrix[row, column]:
            colour = RIGHT if row == column else "black"
            axes.text(column, row, str(matrix[row, column]), ha="center", va="center", color=colour, fontsize=9)
    for number, one in enumerate(by_class):
        axes.text(classes - 0.3, number, f"{one.recall:.1%}", va="center", fontsize=9, color=MARK)
        axes.text(number, classes - 0.3, f"{one.precision:.1%}", ha="center", va="top", fontsize=8, color=MARK)
    axes.text(classes - 0.3, -0.65, "recall", fontsize=9, color=MARK)
    axes.text(-0.6, classes - 0.3, "precision", ha="right", va="top", fontsize=9, color=MARK)
    axes.set(xticks=range(classes), yticks=range(classes), xlabel="predicted", ylabel="actual")
    axes.set_xticklabels(names)
    axes.set_yticklabels(names)
    axes.tick_params(axis="x", pad=18, length=0)
    heading = f"{np.trace(matrix):,} of {matrix.sum():,} test images right"
    axes.set_title(f"{heading}\nblue: right; red: mistakes, the darker the more", fontsize=10, pad=14)
    save(figure, path)


def learning_curves(history: History, path: Path, validation: str) -> None:
    """Draw loss and accuracy by epoch, with the epoch of the lowest val_loss and of the highest val_accuracy marked.

    `validation` names the images that val_loss and val_accuracy were measured on.
    """
    epochs = [row["epoch"] for row in history]
    figure, panels = plt.subplots(1, 2, figsize=(11, 4.2))
    _margins(figure, left=0.75, right=0.15, bottom=0.55, top=0.15, wspace=0.2)
    for axes, metric, best in zip(panels, ("loss", "accuracy"), (np.argmin, np.argmax), strict=True):
        values = [row[f"val_{metric}"] for row in history]
        axes.plot(epochs, [row[metric] for row in history], "o-", color=TRAINING, label=f"{metric} (training)")
        axes.plot(epochs, values, "o-", color=VALIDATION, label=f"val_{metric} ({validation})")
        turn = epochs[int(best(values))]
        word = "lowest" if best is np.argmin else "highest"
        axes.axvline(turn, color=MARK, linestyle="--", linewidth=1, label=f"{word} val_{metric}: epoch {turn}")
        axes.set(xlabel="epoch", ylabel=metric)
        axes.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.3)
        axes.legend()
    save(figure, path)


def images(
    pictures: np.ndarray, titles: list[str], colours: list[str], path: Path, heading: str, software: str = ""
) -> None:
    """Draw N×H×W×C pictures in 0…1 in a grid, each under its title. The PNG's metadata names the `software`, if any."""
    columns = min(6, max(1, len(pictures)))
    rows = max(1, -(-len(pictures) // columns))
    width, height = max(1.6 * columns, 5), 1.9 * rows + 0.6
    figure = plt.figure(figsize=(width, height))
    figure.suptitle(heading, fontsize=11, y=1 - 0.15 / height, va="top")
    # One axes for all: with axes of their own, so many small pictures take three times as long.
    axes = figure.add_axes((0.02, 0, 0.96, 1 - 0.45 / height))
    cell = 0.96 * width / columns, (height - 0.45) / rows  # inches; a unit of the axes is a cell
    pixel = 1.45 / max(pictures.shape[1:3])  # inches
    wide, high = pictures.shape[2] * pixel / cell[0], pictures.shape[1] * pixel / cell[1]
    for number, (picture, title, colour) in enumerate(zip(pictures, titles, colours, strict=False)):
        row, column = divmod(number, columns)
        extent = (column + (1 - wide) / 2, column + (1 + wide) / 2, row + 0.98, row + 0.98 - high)
        axes.imshow(_displayable(picture), cmap="gray_r", vmin=0, vmax=1, extent=extent, aspect="auto")
        axes.text(column + 0.5, extent[3] - 0.02, title, fontsize=9, color=colour, ha="center", va="bottom")
    axes.set(xlim=(0, columns), ylim=(rows, 0))
    axes.axis("off")
    save(figure, path, software)


def prediction(picture: np.ndarray, probabilities: np.ndarray, actual: int, names: Sequence[str], path: Path) -> None:
    """Draw one picture (H×W×C in 0…1) beside the probability of each class."""
    predicted = int(np.argmax(probabilities))
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.5, 3.6), width_ratios=(1, 1.5))
    _margins(figure, left=0.2, right=0.15, bottom=0.55, top=0.5, wspace=0.25)
    left.imshow(_displayable(picture), cmap="gray_r", vmin=0, vmax=1)
    left.axis("off")
    title = f"predicted {names[predicted]} ({probabilities[predicted]:.1%}), actual {names[actual]}"
    figure.suptitle(title, fontsize=11, y=0.96, va="top")
    colours = ["tab:green" if index == actual else "tab:gray" for index in range(len(probabilities))]
    right.bar(range(len(probabilities)), probabilities, color=colours)
    right.set(xticks=range(len(probabilities)), ylim=(0, 1.02), xlabel="class (green: the actual one)")
    right.set_ylabel("probability")
    long_names = max(map(len, names)) > 3
    right.set_xticklabels(names, rotation=30 if long_names else 0, ha="right" if long_names else "center")
    if long_names:
        right.tick_params(axis="x", labelsize=7)
    save(figure, path)


def as_png(picture: np.ndarray) -> str:
    """A picture (H×W×C in 0…1) as a PNG in base64, dark on bright as in the other pictures of it."""
    pixels = np.rint(_displayable(picture) * 255).clip(0, 255).astype(np.uint8)
    content = io.BytesIO()
    Image.fromarray(255 - pixels if pixels.ndim == 2 else pixels).save(content, "PNG", optimize=True)
    return base64.b64encode(content.getvalue()).decode()


def _displayable(picture: np.ndarray) -> np.ndarray:
    """Grey and RGB pictures as they are; of a picture with another number of channels, the first channel."""
    return picture if picture.shape[-1] in (3, 4) else picture[..., 0]


def _margins(figure: Figure, left: float, right: float, bottom: float, top: float, wspace: float = 0) -> None:
    """Set margins in inches. Matplotlib's layout engine would find them, but takes as long as drawing does."""
    width, height = figure.get_size_inches()
    places = {"left": left / width, "right": 1 - right / width, "bottom": bottom / height, "top": 1 - top / height}
    figure.subplots_adjust(**places, wspace=wspace)


def save(figure: Figure, path: Path, software: str = "") -> None:
    """Write the figure as a PNG, and close it. Its metadata names Matplotlib, or `software`."""
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=DPI, metadata={"Software": software} if software else None)
    plt.close(figure)
