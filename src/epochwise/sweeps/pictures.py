"""Pictures of a sweep: curves of its runs in one frame, and a heat map over two swept parameters."""

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.ticker import MaxNLocator

from epochwise.evaluation import figures
from epochwise.training.history import Rows


def curves(lines: list[tuple[str, Rows, list[int]]], path: Path, heading: str) -> None:
    """Draw val_loss and val_accuracy by epoch: a line for each label and history, with dots at the epochs listed."""
    figure, panels = plt.subplots(1, 2, figsize=(12, 4.6), layout="constrained")
    figure.suptitle(heading, fontsize=11)
    for axes, metric in zip(panels, ("val_loss", "val_accuracy"), strict=True):
        for label, rows, ends in lines:
            values = {row["epoch"]: row[metric] for row in rows}
            (line,) = axes.plot(values.keys(), values.values(), linewidth=1.4, alpha=0.8, label=label)
            axes.plot(ends, [values[epoch] for epoch in ends], "o", color=line.get_color())
        axes.set(xlabel="epoch", ylabel=metric)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.3)
    panels[1].legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    figures.save(figure, path)


def heat_map(keys: list[str], cells: dict[tuple, float], path: Path, heading: str) -> None:
    """Draw a value for each pair of values of the two keys, the first across and the second down; gaps stay empty."""
    across, down = (sorted({cell[axis] for cell in cells}, key=_order) for axis in (0, 1))
    grid = [[cells.get((x, y), float("nan")) for x in across] for y in down]
    figure, axes = plt.subplots(figsize=(2.4 + 0.95 * len(across), 1.6 + 0.75 * len(down)), layout="constrained")
    image = axes.imshow(grid, cmap="viridis", aspect="auto")
    low, high = image.get_clim()
    best = max(cells, key=cells.get)
    for (x, y), value in cells.items():
        bright = high > low and (value - low) / (high - low) > 0.6
        weight = "bold" if (x, y) == best else "normal"
        place = across.index(x), down.index(y)
        axes.text(*place, f"{value:.4f}", ha="center", va="center", color="black" if bright else "white", weight=weight)
    axes.set(xticks=range(len(across)), yticks=range(len(down)), xlabel=keys[0], ylabel=keys[1], title=heading)
    axes.set_xticklabels(map(str, across))
    axes.set_yticklabels(map(str, down))
    figures.save(figure, path)


def _order(value: object) -> tuple:
    number = isinstance(value, (int, float))
    return not number, value if number else str(value)
