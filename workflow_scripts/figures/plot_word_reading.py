"""Recall of words under the logit lens while they are spoken, by layer and by time."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from workflow_scripts.artifacts.tables import last_checkpoints, select
from workflow_scripts.figures.style import NULL, PAGE_INCHES, Look, figure, integer_ticks, panel_inches
from workflow_scripts.measures.word_reading import NEXT, OWN

STYLES = {OWN: "-", NEXT: "--"}


def plot_word_reading(word_reading: pd.DataFrame, display: Mapping[str, Any]) -> Figure:
    """Draw one row per model: both targets by layer at the words' own time, and by time at the best layer."""
    models = sorted(set(word_reading["model"])) or ["no model"]
    look = Look(display, models)
    height = panel_inches(len(models), 2.0) * len(models) + 0.5
    drawn, axes = figure(len(models), 2, PAGE_INCHES, height, sharex="col", sharey=True)
    recall = last_checkpoints(select(word_reading, measure="recall"))
    for (by_layer, by_time), model in zip(axes, models):
        rows = select(recall, model=model)
        own = select(rows, offset=0.0)
        _draw(by_layer, own, "layer", look.color(model))
        by_layer.set_title(f"{look.label(model)} (n={own['n'].max() if len(own) else 0})", loc="left")
        by_layer.set_ylabel("recall at 10")
        excess = (own["value"] - own["null"])[own["target"] == OWN].dropna()
        if len(excess):
            layer = own["layer"][excess.idxmax()]
            _draw(by_time, select(rows, layer=layer), "offset", look.color(model))
            by_time.set_title(f"layer {layer}", loc="left")
        by_time.axvline(0, color=NULL, linewidth=0.6)
    axes[-1, 0].set_xlabel("layer (0 = embeddings)")
    axes[-1, 1].set_xlabel("seconds after the word")
    integer_ticks(axes[-1, 0].xaxis)
    names = {OWN: "the word", NEXT: "the word after it"}
    handles = [
        Line2D([], [], color=color, linestyle=style, marker="o", markersize=3, label=f"{names[target]}{whose}")
        for whose, color in (("", "black"), (", of another question", NULL))
        for target, style in STYLES.items()
    ]
    drawn.legend(handles=handles, loc="outside upper left", ncols=4, columnspacing=1.0)
    return drawn


def _draw(axis: Any, rows: pd.DataFrame, x: str, color: str) -> None:
    """Both targets against column `x`, each with its null."""
    for target, style in STYLES.items():
        curve = select(rows, target=target).sort_values(x)
        low, high = (curve["null"] + sign * 2 * curve["null_sd"] for sign in (-1, 1))
        axis.fill_between(curve[x].astype(float), low, high, color=NULL, alpha=0.2, linewidth=0)
        for column, shade in (("null", NULL), ("value", color)):
            axis.plot(curve[x].astype(float), curve[column], style, marker="o", markersize=3, color=shade)
