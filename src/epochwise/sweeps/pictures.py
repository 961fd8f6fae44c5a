"""Pictures of a sweep: the curves of its runs in one frame, and a heat map over two swept parameters."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.ticker import MaxNLocator

from epochwise.evaluation import figures
from epochwise.report.charts import in_order
from epochwise.sweeps.curves import Curve

BRIGHT = 0.6  # the share of the colour scale above which its colours need black text


def draw_curves(curves: Sequence[Curve], path: Path, heading: str) -> None:
    """Draw val_loss and val_accuracy by epoch: a line for each curve, with dots where its runs end.

    Over several seeds the line is the mean, in a band of one standard deviation to either side. Of a single curve the
    seeds are drawn, too, as thin lines.
    """
    figure, panels = plt.subplots(1, 2, figsize=(12, 4.6), layout="constrained")
    figure.suptitle(heading, fontsize=11)
    for axes, metric in zip(panels, ("val_loss", "val_accuracy"), strict=True):
        for curve in curves:
            means, deviations = curve.line(metric)
            label = curve.label + (f", n={len(curve.histories)}" if deviations else "")
            (line,) = axes.plot(means.keys(), means.values(), linewidth=1.4, alpha=0.8, label=label)
            color = line.get_color()
            if deviations:
                low, high = ([mean + sign * deviations[epoch] for epoch, mean in means.items()] for sign in (-1, 1))
                axes.fill_between(list(means), low, high, color=color, alpha=0.18, linewidth=0)
            for seed, history in sorted(curve.histories.items()) if deviations and len(curves) == 1 else ():
                values = [row[metric] for row in history]
                style = {"linewidth": 0.9, "alpha": 0.7, "label": f"seed={seed}"}
                axes.plot(range(1, len(values) + 1), values, **style)
            axes.plot(*zip(*curve.dots(metric), strict=True), "o", color=color)
        axes.set(xlabel="epoch", ylabel=metric)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.3)
    panels[1].legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    figures.save(figure, path)


def draw_heat_map(keys: Sequence[str], cells: Mapping[tuple[Any, Any], float], path: Path, heading: str) -> None:
    """Draw a value for each pair of values of two keys: the first key across, the second down. Gaps stay empty.

    The first of the `cells`, that of the best setting, is bold.
    """
    across, down = (in_order(cell[axis] for cell in cells) for axis in (0, 1))
    grid = [[cells.get((x, y), float("nan")) for x in across] for y in down]
    figure, axes = plt.subplots(figsize=(2.4 + 0.95 * len(across), 1.6 + 0.75 * len(down)), layout="constrained")
    image = axes.imshow(grid, cmap="viridis", aspect="auto")
    low, high = image.get_clim()
    best = next(iter(cells))
    for (x, y), value in cells.items():
        color = "black" if high > low and (value - low) / (high - low) > BRIGHT else "white"
        weight = "bold" if (x, y) == best else "normal"
        column, row = across.index(x), down.index(y)
        axes.text(column, row, f"{value:.4f}", ha="center", va="center", color=color, weight=weight)
    axes.set(xticks=range(len(across)), yticks=range(len(down)), xlabel=keys[0], ylabel=keys[1], title=heading)
    axes.set_xticklabels(map(str, across))
    axes.set_yticklabels(map(str, down))
    figures.save(figure, path)
