"""Figure 8 of the paper: monotonicity (cosine, Euclid) and consistency by checkpoint, beside their nulls (ours)."""

import math
import textwrap
from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from workflow_scripts.figures.style import (
    COSINE,
    EUCLIDEAN,
    NULL,
    PAGE_INCHES,
    Look,
    Rows,
    figure,
    number,
    panel_inches,
)

PANELS_PER_ROW = 3
TITLE_LETTERS = 30  # what fits above a panel
CURVES = {
    "monotonicity_cosine": ("monotonicity, cosine", COSINE, "o"),
    "monotonicity_euclidean": ("monotonicity, Euclid", EUCLIDEAN, "s"),
    "consistency": ("consistency", "#009E73", "^"),
}


def plot_monotonicity(checkpoints: Rows, display: Mapping[str, Any]) -> Figure:
    """Draw one panel per model; the null of each curve is dashed in its colour."""
    rows = [row for row in checkpoints if row["subset"] == "all"]
    models = sorted({row["model"] for row in rows})
    look = Look(display, models)
    columns = min(len(models), PANELS_PER_ROW)
    lines = math.ceil(len(models) / columns)
    height = panel_inches(lines, 2.2) * lines + 0.4
    drawn, axes = figure(lines, columns, PAGE_INCHES, height, sharex=True, sharey=True)
    for axis in axes.flat[len(models) :]:
        axis.set_axis_off()
    for axis, model in zip(axes.flat, models):
        own = sorted((row for row in rows if row["model"] == model), key=lambda row: row["step"] or 0)
        x = [row["step"] or 0 for row in own]
        for column, (label, color, marker) in CURVES.items():
            axis.plot(x, [number(row[column]) for row in own], marker=marker, color=color, label=label)
            axis.plot(
                x,
                [number(row[f"{column}_null"]) for row in own],
                "--",
                color=color,
                linewidth=0.8,
            )
        title = f"{look.label(model)} (n={max(row['n'] for row in own)})"
        axis.set_title(textwrap.fill(title, TITLE_LETTERS), loc="left")
        axis.set_xlabel("training step")
        axis.tick_params(labelbottom=True)
    axes[0, 0].set_ylim(min(-0.05, axes[0, 0].get_ylim()[0]), 1)
    for axis in axes[:, 0]:
        axis.set_ylabel("mean of layers 1..L")
    handles, _ = axes[0, 0].get_legend_handles_labels()
    null = Line2D([], [], color=NULL, linestyle="--", linewidth=0.8, label="shuffled-pair null")
    drawn.legend(handles=[*handles, null], loc="outside upper left", ncols=4)
    return drawn
