"""Measures of the mean states by layer, one curve per checkpoint (Figure 4 of the paper), beside their chance level.

The band is the shuffled-pair null of the last checkpoint, mean and two standard deviations: what two unrelated
questions of similar length reach.
"""

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from workflow_scripts.artifacts.tables import select
from workflow_scripts.figures.style import NULL, PAGE_INCHES, Look, by_checkpoint, figure, panel_inches, step_name
from workflow_scripts.measures.labels import axis_label

RAW = {"cosine": "Blues", "euclidean": "Oranges"}
CONTROLLED = {"cosine_modality": "Blues", "length_free_distance": "Oranges", "log_norm_ratio": "Greens"}
LOCAL = {"mutual_knn": "Blues", "retrieval": "Oranges", "cka": "Greens"}
"""Colour map by measure: darker with training."""
SHARES = ("mutual_knn", "retrieval")
"""No chance band of these lies below 0."""


def plot_layers(layers: pd.DataFrame, display: Mapping[str, Any]) -> Figure:
    """The paper's two measures; each panel has its own scale, as models differ in the norm of their states."""
    return _plot(layers, RAW, display, sharey=False)


def plot_layers_local(layers: pd.DataFrame, display: Mapping[str, Any]) -> Figure:
    """Neighbours that the forms share, texts found by speech, and CKA beside them."""
    return _plot(layers, LOCAL, display, sharey="col")


def plot_layers_controlled(layers: pd.DataFrame, display: Mapping[str, Any]) -> Figure:
    """What is left of them without the mean of each form and without the norms, and the ratio of the norms."""
    return _plot(layers, CONTROLLED, display, sharey="col")


def _plot(layers: pd.DataFrame, colors: Mapping[str, str], display: Mapping[str, Any], sharey: Any) -> Figure:
    """Draw one row per model and one panel per measure, over all subsets."""
    rows = select(layers, subset="all")
    models = sorted(set(rows["model"]))
    look = Look(display, models)
    height = panel_inches(len(models), 1.9) * len(models) + 0.5
    drawn, axes = figure(len(models), len(colors), PAGE_INCHES, height, sharex=True, sharey=sharey)
    for column, (measure, color_map) in enumerate(colors.items()):
        measured = select(rows, measure=measure)
        shades = checkpoint_shades(rows, color_map)
        for axis, model in zip(axes[:, column], models):
            _draw_panel(axis, select(measured, model=model), shades)
            axis.set_ylabel(axis_label(measure, 18), fontsize=7)
            if measure == "euclidean":
                # Distances grow by a factor of ten or more with depth, and are above 0.
                axis.set_yscale("log")
                # Without exponents, which would be smaller than any other label.
                axis.yaxis.set_major_formatter("{x:g}")
            if measure == "log_norm_ratio":
                axis.axhline(0, color=NULL, linewidth=0.6)
        axes[-1, column].set_xlabel("layer (0 = embeddings)")
    for axis, model in zip(axes[:, 0], models):
        axis.set_title(f"{look.label(model)} (n={select(rows, model=model)['n'].max()})", loc="left")
    checkpoint_legend(drawn, rows, null="null, last checkpoint")
    return drawn


def checkpoint_shades(rows: pd.DataFrame, colors: str) -> dict[str, Any]:
    """Colour of each checkpoint of the figure, darker with training."""
    names = sorted(set(rows["checkpoint"]))
    return dict(zip(names, mpl.colormaps[colors](np.linspace(0.35, 0.95, len(names)))))


def checkpoint_legend(drawn: Figure, rows: pd.DataFrame, null: str | None = None, ncols: int = 7) -> None:
    """One legend in greys, light to dark as the checkpoints are in panels of any colour, and the null's dotted line."""
    shades = checkpoint_shades(rows, "Greys")
    first = {name: part.iloc[0] for name, part in by_checkpoint(rows).items()}
    handles = [Line2D([], [], color=shades[name], label=step_name(row)) for name, row in first.items()]
    handles += [Line2D([], [], color=NULL, linestyle=":", label=null)] if null else []
    drawn.legend(handles=handles, loc="outside upper left", ncols=ncols, handlelength=1.2, columnspacing=0.8)


def _draw_panel(axis: Any, rows: pd.DataFrame, shades: Mapping[str, Any]) -> None:
    for name, curve in by_checkpoint(rows.sort_values("layer")).items():
        axis.plot(curve["layer"], curve["value"], color=shades[name])
    if len(rows) and curve["null"].notna().any():
        low, high = (curve["null"] + sign * 2 * curve["null_sd"] for sign in (-1, 1))
        low = low.clip(lower=0) if rows["measure"].iloc[0] in SHARES else low
        axis.fill_between(curve["layer"].astype(float), low, high, color=NULL, alpha=0.4, linewidth=0, zorder=0)
        axis.plot(curve["layer"], curve["null"], ":", color=NULL)
