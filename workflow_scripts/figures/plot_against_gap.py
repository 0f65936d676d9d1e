"""Figures 5 and 7 of the paper: predictors against the gap, one point per checkpoint, with the tabulated fit.

Training time as the baseline is our addition.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from workflow_scripts.figures.style import (
    NULL,
    PAGE_INCHES,
    Look,
    Rows,
    counted,
    figure,
    number,
    printed,
    top_legend,
)

OUTCOMES = {"gap": "GAP (points)", "loss_gap": "loss gap (nats per token)"}


SIMILARITY = {
    "sim_cosine": "Sim, cosine",
    "sim_euclidean": "Sim, Euclidean distance",
    "sim_cosine_calibrated": "Sim, cosine, calibrated",
}
APS = {
    "aps_cosine": "APS, cosine",
    "aps_euclidean": "APS, Euclidean distance",
    "aps_cosine_calibrated": "APS, cosine, calibrated",
}
"""Axis label by column of points.csv."""


def plot_similarity_gap(points: Rows, regression: Rows, display: Mapping[str, Any]) -> Figure:
    """Figure 5 of the paper: sequence-level similarity against the gap."""
    return _plot(points, regression, SIMILARITY, display)


def plot_aps_gap(points: Rows, regression: Rows, display: Mapping[str, Any]) -> Figure:
    """Figure 7 of the paper: Alignment Path Score against the gap."""
    return _plot(points, regression, APS, display)


def _plot(points: Rows, regression: Rows, predictors: Mapping[str, str], display: Mapping[str, Any]) -> Figure:
    """Draw a grid: one row per outcome, one column per predictor, log(1 + step) last as the baseline to beat.

    Ticks on the x axis: the shuffled-pair null of the predictor, one per checkpoint. Above each panel: R2 of the pooled
    fit with its interval over checkpoints, the partial R2 given the models and log(1 + step), and the number of
    checkpoints and of independent training runs.
    """
    rows = points
    fits = {(row["outcome"], row["predictor"]): row for row in regression if row["pool"] == "pooled"}
    look = Look(display, [row["model"] for row in rows])
    columns = {**predictors, "log_step": "log(1 + step)"}
    drawn, axes = figure(2, len(columns), PAGE_INCHES, 3.9, sharey="row")
    for line, (outcome, outcome_label) in enumerate(OUTCOMES.items()):
        for axis, (predictor, label) in zip(axes[line], columns.items()):
            _draw_points(axis, rows, predictor, outcome, look)
            _draw_fit(axis, fits.get((outcome, predictor)), rows, predictor)
            axis.set_xlabel(label)
        axes[line, 0].set_ylabel(outcome_label)
        axes[line, 0].margins(y=0.15)
    top_legend(drawn, axes.flat, ncols=4)
    return drawn


def _draw_points(axis: Any, rows: Sequence[Mapping[str, Any]], predictor: str, outcome: str, look: Look) -> None:
    for model in look.models:
        own = sorted((row for row in rows if row["model"] == model), key=lambda row: row["step"] or 0)
        x, y = ([number(row[name]) for row in own] for name in (predictor, outcome))
        # Open, so that equal points of two models (before training) are both seen; the last checkpoint is filled.
        axis.plot(
            x,
            y,
            marker=look.marker(model),
            color=look.color(model),
            markerfacecolor="none",
            linewidth=0.6,
            label=look.label(model),
        )
        axis.plot(x[-1:], y[-1:], look.marker(model), color=look.color(model))
    nulls = [number(row.get(f"{predictor}_null")) for row in rows]
    if np.isfinite(nulls).any():
        ticks = {"color": "black", "markersize": 5, "markeredgewidth": 0.8, "label": "nulls (on the x axis)"}
        axis.plot(nulls, [0.04] * len(nulls), "|", transform=axis.get_xaxis_transform(), **ticks)


def _draw_fit(axis: Any, fit: Mapping[str, Any] | None, rows: Sequence[Mapping[str, Any]], predictor: str) -> None:
    if fit is None or fit["slope"] is None:
        axis.set_title("no fit", loc="left", fontsize=7)
        return
    x = np.array([number(row[predictor]) for row in rows])
    ends = np.array([np.nanmin(x), np.nanmax(x)])
    axis.plot(ends, number(fit["intercept"]) + number(fit["slope"]) * ends, "--", color=NULL, linewidth=0.9, zorder=0)
    r2, low, high = (printed(fit[name], 2) for name in ("r2", "r2_low", "r2_high"))
    title = f"$R^2$={r2} [{low}, {high}]\n"
    if fit.get("partial_r2") is not None:
        title += f"partial {printed(fit['partial_r2'], 2)}; "
    axis.set_title(title + counted(fit), loc="left", fontsize=7)
