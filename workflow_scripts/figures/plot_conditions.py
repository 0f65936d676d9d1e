"""Scores and gaps of the same questions under several conditions: voices, regions, noise, a telephone line."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from workflow_scripts.artifacts.tables import last_checkpoints, select
from workflow_scripts.figures.style import NULL, PAGE_INCHES, Look, figure, top_legend, whiskers

PANELS = {
    ("score", "speech"): "score in speech",
    ("score", "gap"): "gap (points)",
    ("loss", "gap"): "gap (nats per token)",
}
"""Label of the y axis by measure and form, from top to bottom."""
MEAN = "all"
MEAN_LABEL = "mean over\nconditions"
SPREAD = 0.6
"""Part of the distance between two conditions over which models stand side by side."""


def plot_conditions(conditions: pd.DataFrame, display: Mapping[str, Any]) -> Figure:
    """Draw a column of panels per group of conditions, a row per measure that any question has."""
    last = last_checkpoints(conditions)
    models, groups = sorted(set(last["model"])), list(dict.fromkeys(last["subset"]))
    look = Look(display, models)
    panels = [(measure, form) for measure, form in PANELS if len(select(last, measure=measure, form=form))]
    if not panels:
        drawn, axes = figure(1, 1, PAGE_INCHES, 1.2)
        axes[0, 0].text(0.5, 0.5, "no model heard every condition", ha="center", va="center")
        axes[0, 0].set_axis_off()
        return drawn
    names = {group: [*dict.fromkeys(select(last, subset=group, form="speech")["condition"])] for group in groups}
    ratios = {"width_ratios": [len(names[group]) + 1 for group in groups]}
    shared = {"sharex": "col", "sharey": "row", "gridspec_kw": ratios}
    drawn, axes = figure(len(panels), len(groups), PAGE_INCHES, 1.6 * len(panels) + 0.8, **shared)
    for column, group in zip(axes.T, groups):
        rows = select(last, subset=group)
        for axis, (measure, form) in zip(column, panels):
            _draw(axis, select(rows, measure=measure), form, names[group], models, look)
        column[0].set_title(f"{look.subset(group)} (n={select(rows, measure='score')['n'].max()})", loc="left")
        ticks = [look.subset(name) for name in names[group]]
        column[-1].set_xticks(
            range(len(ticks) + 1), [*ticks, MEAN_LABEL], rotation=35, ha="right", rotation_mode="anchor"
        )
    for axis, key in zip(axes[:, 0], panels):
        axis.set_ylabel(PANELS[key])
    axes[0, 0].plot([], [], "--", color=NULL, linewidth=0.9, label="in text")
    top_legend(drawn, axes.flat, ncols=4)
    return drawn


def _draw(axis: Any, rows: pd.DataFrame, form: str, names: Sequence[str], models: Sequence[str], look: Look) -> None:
    """One measure of one group: a point and its interval per condition and model, and the text score as a line."""
    shown = [*names, MEAN] if form == "gap" else list(names)
    offsets = (np.arange(len(models)) - (len(models) - 1) / 2) * SPREAD / max(len(models), 4)
    for model, offset in zip(models, offsets):
        own = select(rows, model=model)
        found = select(own, form=form).set_index("condition").reindex(shown)
        place = np.arange(len(shown)) + offset
        style = {"color": look.color(model)}
        whiskers(axis.vlines, place, found["low"], found["high"], linewidth=0.9, **style)
        axis.plot(place, found["value"], look.marker(model), label=look.label(model), **style)
        if form != "gap":
            written = select(own, form="text").set_index("condition").reindex(shown)["value"]
            axis.plot(np.arange(len(shown)), written, "--", linewidth=0.9, **style)
    if form == "gap":
        axis.axhline(0, color=NULL, linewidth=0.6)
        axis.axvline(len(names) - 0.5, color=NULL, linewidth=0.6)
    axis.set_xlim(-0.5, len(names) + 0.5)
