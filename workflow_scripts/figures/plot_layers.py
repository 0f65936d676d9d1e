"""Figure 4 of the paper: cosine similarity and Euclidean distance by layer, one curve per checkpoint.

Ours adds the shuffled-pair null of the last checkpoint (mean and two standard deviations): what two unrelated questions
of like length reach.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from workflow_scripts.figures.style import (
    NULL,
    PAGE_INCHES,
    Look,
    Rows,
    figure,
    number,
    panel_inches,
    step_name,
    top_legend,
)

METRICS = {"cosine": ("cosine similarity", "Blues"), "euclidean": ("Euclidean distance", "Oranges")}


def plot_layers(layers: Rows, display: Mapping[str, Any]) -> Figure:
    """Draw one row per model and one panel per metric, over all subsets."""
    rows = [row for row in layers if row["subset"] == "all"]
    models = sorted({row["model"] for row in rows})
    look = Look(display, models)
    height = panel_inches(len(models), 1.9) * len(models) + 0.5
    drawn, axes = figure(len(models), 2, PAGE_INCHES, height, sharex=True)
    for column, (metric, (label, colors)) in enumerate(METRICS.items()):
        shades = checkpoint_shades(rows, colors)
        for axis, model in zip(axes[:, column], models):
            own = [row for row in rows if row["model"] == model and row["metric"] == metric]
            _draw_panel(axis, own, shades)
            axis.set_title(f"{look.label(model)} (n={max(row['n'] for row in own)})", loc="left")
            axis.set_ylabel(label, fontsize=7)
            if metric == "euclidean":
                # Distances grow by a factor of ten or more with depth, and are above 0.
                axis.set_yscale("log")
                # Without exponents, which would be smaller than any other label.
                axis.yaxis.set_major_formatter("{x:g}")
        axes[-1, column].set_xlabel("layer (0 = embeddings)")
        top_legend(drawn, axes[:, column], "outside upper " + ("left", "right")[column], ncols=4, handlelength=1.2)
    return drawn


def checkpoint_shades(rows: Sequence[Mapping[str, Any]], colors: str) -> dict[str, Any]:
    """Colour of each checkpoint of the figure, darker with training."""
    names = sorted({row["checkpoint"] for row in rows})
    return dict(zip(names, mpl.colormaps[colors](np.linspace(0.35, 0.95, len(names)))))


def checkpoint_legend(drawn: Any, rows: Sequence[Mapping[str, Any]], null: str | None = None, ncols: int = 7) -> None:
    """One legend in greys, light to dark as the checkpoints are in panels of any colour, and the null's dotted line."""
    shades, named = checkpoint_shades(rows, "Greys"), {row["checkpoint"]: step_name(row) for row in rows}
    handles = [Line2D([], [], color=shades[name], label=named[name]) for name in sorted(named)]
    handles += [Line2D([], [], color=NULL, linestyle=":", label=null)] if null else []
    drawn.legend(handles=handles, loc="outside upper left", ncols=ncols, handlelength=1.2, columnspacing=0.8)


def _draw_panel(axis: Any, rows: Sequence[Mapping[str, Any]], shades: Mapping[str, Any]) -> None:
    names = sorted({row["checkpoint"] for row in rows})
    for name in names:
        own = sorted((row for row in rows if row["checkpoint"] == name), key=lambda row: row["layer"])
        x = [row["layer"] for row in own]
        axis.plot(x, [number(row["similarity"]) for row in own], color=shades[name], label=step_name(own[0]))
        if name == names[-1]:
            mean = np.array([number(row["similarity_null"]) for row in own])
            spread = 2 * np.array([number(row["similarity_null_sd"]) for row in own])
            axis.fill_between(x, mean - spread, mean + spread, color=NULL, alpha=0.4, linewidth=0, zorder=0)
            axis.plot(x, mean, ":", color=NULL, label="null, last step")
