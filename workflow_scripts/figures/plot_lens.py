"""Logit lens at speech positions by depth: recall of the question's content words, and of another question's."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from workflow_scripts.artifacts.tables import select
from workflow_scripts.figures.style import (
    NULL,
    PAGE_INCHES,
    Look,
    by_checkpoint,
    figure,
    integer_ticks,
    panel_inches,
    whiskers,
)


def plot_lens(lens: pd.DataFrame, display: Mapping[str, Any]) -> Figure:
    """Draw one row per model: recall and control of the first and last checkpoint, and the last one's difference."""
    models = sorted(set(lens["model"])) or ["no model"]
    look = Look(display, models)
    height = panel_inches(len(models), 2.0) * len(models) + 0.5
    drawn, axes = figure(len(models), 2, PAGE_INCHES, height, sharex=True, sharey="col")
    for (recall, difference), model in zip(axes, models):
        rows = select(lens, model=model).sort_values("layer")
        if checkpoints := list(by_checkpoint(rows).values()):
            _draw_recall(recall, checkpoints[0], "--", look.color(model))
            _draw_recall(recall, checkpoints[-1], "-", look.color(model))
            _draw_difference(difference, checkpoints[-1], look.color(model))
        n = rows["n"].max() if len(rows) else 0
        recall.set_title(f"{look.label(model)} (n={n})", loc="left")
        recall.set_ylabel("recall at 10")
        difference.set_title("own words - control, last checkpoint", loc="left")
        difference.set_ylabel("difference")
    for axis in axes[-1]:
        axis.set_xlabel("layer (0 = embeddings)")
        integer_ticks(axis.xaxis)
    handles = [
        Line2D([], [], color=color, linestyle=style, marker="o", markersize=3, label=f"{words}, {checkpoint}")
        for words, color in (("own words", "black"), ("control", NULL))
        for checkpoint, style in (("first checkpoint", "--"), ("last checkpoint", "-"))
    ]
    drawn.legend(handles=handles, loc="outside upper left", ncols=4, columnspacing=1.0)
    return drawn


def _draw_recall(axis: Any, curve: pd.DataFrame, style: str, color: str) -> None:
    for column, shade in (("control", NULL), ("recall", color)):
        axis.plot(curve["layer"], curve[column], style, marker="o", markersize=3, color=shade)


def _draw_difference(axis: Any, curve: pd.DataFrame, color: str) -> None:
    axis.axhline(0, color=NULL, linewidth=0.6)
    whiskers(axis.vlines, curve["layer"], curve["difference_low"], curve["difference_high"], color=color, linewidth=1.0)
    axis.plot(curve["layer"], curve["difference"], marker="o", markersize=3, color=color, linewidth=0.6)
