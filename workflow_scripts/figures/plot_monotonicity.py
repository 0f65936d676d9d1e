"""Figure 8 of the paper: monotonicity and consistency of the alignment paths by checkpoint, beside their nulls."""

import math
import textwrap
from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from workflow_scripts.artifacts.tables import select
from workflow_scripts.figures.style import COSINE, EUCLIDEAN, NULL, PAGE_INCHES, Look, figure, panel_inches, steps
from workflow_scripts.measures.labels import label

PANELS_PER_ROW = 3
TITLE_LETTERS = 30
"""What fits above a panel."""
CURVES = {
    "monotonicity_cosine": (COSINE, "o"),
    "monotonicity_euclidean": (EUCLIDEAN, "s"),
    "consistency": ("#009E73", "^"),
}


def plot_monotonicity(checkpoints: pd.DataFrame, display: Mapping[str, Any]) -> Figure:
    """Draw one panel per model; the null of each curve is dashed in its colour."""
    rows = select(checkpoints, subset="all")
    rows = rows[rows["measure"].isin(list(CURVES))].sort_values("step")
    models = sorted(set(rows["model"]))
    look = Look(display, models)
    columns = min(len(models), PANELS_PER_ROW)
    lines = math.ceil(len(models) / columns)
    height = panel_inches(lines, 2.2) * lines + 0.4
    drawn, axes = figure(lines, columns, PAGE_INCHES, height, sharex=True, sharey=True)
    for axis in axes.flat[len(models) :]:
        axis.set_axis_off()
    for axis, model in zip(axes.flat, models):
        measured = select(rows, model=model)
        for name, (color, marker) in CURVES.items():
            curve = select(measured, measure=name)
            axis.plot(steps(curve), curve["value"], marker=marker, color=color, label=label(name))
            axis.plot(steps(curve), curve["null"], "--", color=color, linewidth=0.8)
        title = f"{look.label(model)} (n={measured['n'].max()})"
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
