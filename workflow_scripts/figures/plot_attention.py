"""Where answers look, by layer, and what hiding the query from them costs, by window of layers."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from workflow_scripts.artifacts.attention import QUERY, SPEECH, TEXT
from workflow_scripts.artifacts.patches import SPEECH_ONLY
from workflow_scripts.artifacts.tables import select
from workflow_scripts.figures.style import NULL, PAGE_INCHES, Look, figure, integer_ticks, panel_inches, whiskers

ALPHA = 0.05
STYLES = {SPEECH: "-", TEXT: "--"}
NAMES = {SPEECH: "spoken", TEXT: "written"}
ASIDE = {SPEECH: -0.15, TEXT: 0.15}
"""Layers by which the whiskers of a form stand beside the middle of their window."""


def plot_attention(attention: pd.DataFrame, knockout: pd.DataFrame, display: Mapping[str, Any]) -> Figure:
    """Draw one row of two panels per model."""
    models = sorted(set(attention["model"]) | set(knockout["model"])) or ["no model"]
    look = Look(display, models)
    height = panel_inches(len(models), 1.8) * len(models) + 0.5
    drawn, axes = figure(len(models), 2, PAGE_INCHES, height, sharex="col", sharey="col")
    shares = select(attention[attention["kind"] != SPEECH_ONLY], positions=QUERY)
    windows = knockout[(knockout["kind"] != SPEECH_ONLY) & (knockout["n"] > 0)]
    for (left, right), model in zip(axes, models):
        own, hidden = select(shares, model=model), select(windows, model=model)
        n = max((int(rows["n"].max()) for rows in (own, hidden) if len(rows)), default=0)
        left.set_title(f"{look.label(model)} (n={n})", loc="left")
        left.set_ylabel("share of attention")
        right.set_ylabel("change, nats")
        for form in STYLES:
            _share(left, select(own, form=form).sort_values("layer"), form, look.color(model))
            _knockout(right, select(hidden, form=form), form, look.color(model))
    axes[-1, 0].set_xlabel("layer")
    axes[-1, 1].set_xlabel("layers in which the query is hidden")
    integer_ticks(axes[-1, 0].xaxis, axes[-1, 1].xaxis)
    handles = [
        Line2D([], [], color=color, linestyle=style, label=f"{NAMES[form]}{what}")
        for what, color in (("", "black"), (", by chance", NULL))
        for form, style in STYLES.items()
    ]
    drawn.legend(handles=handles, loc="outside upper left", ncols=4, columnspacing=1.0)
    return drawn


def _share(axis: Any, rows: pd.DataFrame, form: str, color: str) -> None:
    layers = rows["layer"].astype(float)
    axis.fill_between(layers, rows["share_low"], rows["share_high"], color=color, alpha=0.2, linewidth=0)
    axis.plot(layers, rows["share"], STYLES[form], color=color)
    axis.plot(layers, rows["uniform"], STYLES[form], color=NULL, linewidth=0.8)


def _knockout(axis: Any, rows: pd.DataFrame, form: str, color: str) -> None:
    axis.axhline(0, color=NULL, linewidth=0.6)
    everywhere = (rows["window"] == rows["depth"]).to_numpy(dtype=bool)
    for value in rows["change"][everywhere].dropna():
        axis.axhline(value, color=color, linestyle=":", linewidth=1.0 if form == SPEECH else 0.6)
    single = rows[~everywhere]
    first, last = single["layer"].astype(float), (single["layer"] + single["window"] - 1).astype(float)
    axis.hlines(single["control"], first, last, color=NULL, linestyle=STYLES[form], linewidth=1.0)
    axis.hlines(single["change"], first, last, color=color, linestyle=STYLES[form], linewidth=1.4)
    middle = (first + last) / 2 + ASIDE[form]
    whiskers(axis.vlines, middle, single["change_low"], single["change_high"], color=color, linewidth=0.8)
    sure = (single["p_holm"] < ALPHA).to_numpy(dtype=bool)
    axis.plot(middle[sure], single["change"][sure], "o", color=color, markersize=3)
