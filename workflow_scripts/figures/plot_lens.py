"""Logit lens at speech positions by depth: recall of the question's content words, and of another question's (ours)."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from workflow_scripts.figures.style import (
    NULL,
    PAGE_INCHES,
    Look,
    Rows,
    figure,
    integer_ticks,
    number,
    panel_inches,
    whiskers,
)


def plot_lens(lens: Rows, display: Mapping[str, Any]) -> Figure:
    """Draw one row per model: recall and control of the first and last checkpoint, and the last one's difference."""
    rows = lens
    models = sorted({row["model"] for row in rows}) or ["no model"]
    look = Look(display, models)
    height = panel_inches(len(models), 2.0) * len(models) + 0.5
    drawn, axes = figure(len(models), 2, PAGE_INCHES, height, sharex=True, sharey="col")
    for line, model in zip(axes, models):
        own = sorted((row for row in rows if row["model"] == model), key=lambda row: row["layer"])
        _draw_recall(line[0], own, look.color(model))
        _draw_difference(line[1], own, look.color(model))
        n = max((row["n"] for row in own), default=0)
        line[0].set_title(f"{look.label(model)} (n={n})", loc="left")
        line[0].set_ylabel("recall at 10")
        line[1].set_title("own words - control, last checkpoint", loc="left")
        line[1].set_ylabel("difference")
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


def _draw_recall(axis: Any, rows: Sequence[Mapping[str, Any]], color: str) -> None:
    names = sorted({row["checkpoint"] for row in rows})
    for checkpoint, style in dict(zip((names[0], names[-1]), ("--", "-"))).items() if names else ():
        curve = [row for row in rows if row["checkpoint"] == checkpoint]
        for column, shade in (("control", NULL), ("recall", color)):
            y = [number(row[column]) for row in curve]
            axis.plot([row["layer"] for row in curve], y, style, marker="o", markersize=3, color=shade)


def _draw_difference(axis: Any, rows: Sequence[Mapping[str, Any]], color: str) -> None:
    last = max((row["checkpoint"] for row in rows), default=None)
    curve = [row for row in rows if row["checkpoint"] == last]
    x = [row["layer"] for row in curve]
    low, y, high = ([number(row[f"difference{end}"]) for row in curve] for end in ("_low", "", "_high"))
    axis.axhline(0, color=NULL, linewidth=0.6)
    whiskers(axis.vlines, x, low, high, color=color, linewidth=1.0)
    axis.plot(x, y, marker="o", markersize=3, color=color, linewidth=0.6)
