"""Figures 5 and 7 of the paper: predictors against the gap, one point per checkpoint, with the tabulated fit.

Beyond the paper: training time as the baseline, nulls, and the intervals of R2.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from workflow_scripts.artifacts.tables import select
from workflow_scripts.figures.style import (
    NULL,
    PAGE_INCHES,
    Look,
    counted,
    figure,
    measures_side_by_side,
    printed,
    top_legend,
)
from workflow_scripts.measures.labels import axis_label

OUTCOMES = ("gap", "loss_gap")
BASELINE = "log_step"
SIMILARITY = ("cosine", "euclidean", "cosine_calibrated")
APS = ("path_score_cosine", "path_score_euclidean", "path_score_cosine_calibrated")


def plot_similarity_gap(
    points: pd.DataFrame, checkpoints: pd.DataFrame, regression: pd.DataFrame, display: Mapping[str, Any]
) -> Figure:
    """Figure 5: sequence-level similarity against the gap."""
    return _plot(points, checkpoints, regression, SIMILARITY, display)


def plot_aps_gap(
    points: pd.DataFrame, checkpoints: pd.DataFrame, regression: pd.DataFrame, display: Mapping[str, Any]
) -> Figure:
    """Figure 7: Alignment Path Score against the gap."""
    return _plot(points, checkpoints, regression, APS, display)


def _plot(
    points: pd.DataFrame,
    checkpoints: pd.DataFrame,
    regression: pd.DataFrame,
    predictors: Sequence[str],
    display: Mapping[str, Any],
) -> Figure:
    """Draw a grid: one row per outcome, one column per predictor, log(1 + step) last as the baseline to beat.

    Ticks on the x axis: the shuffled-pair null of the predictor, one per checkpoint. Above each panel: R2 of the pooled
    fit with its interval over checkpoints, the partial R2 given the models and log(1 + step), and the number of
    checkpoints and of independent training runs.
    """
    columns = (*predictors, BASELINE)
    wide = measures_side_by_side(points, [*columns, *OUTCOMES])
    fits = select(regression, pool="pooled").set_index(["outcome", "predictor"])
    look = Look(display, list(wide["model"]))
    nulls = select(checkpoints, subset="all")
    nulls = nulls[nulls["model"].isin(look.models)]
    drawn, axes = figure(2, len(columns), PAGE_INCHES, 4.1, sharey="row")
    for line, outcome in enumerate(OUTCOMES):
        for axis, predictor in zip(axes[line], columns):
            _draw_points(axis, wide, predictor, outcome, look)
            _draw_nulls(axis, select(nulls, measure=predictor)["null"].dropna())
            _draw_fit(axis, fits.loc[outcome, predictor] if (outcome, predictor) in fits.index else None, wide)
        axes[line, 0].set_ylabel(axis_label(outcome, 30))
        axes[line, 0].margins(y=0.15)
    for axis, predictor in zip(axes[-1], columns):
        axis.set_xlabel(axis_label(predictor, 20), fontsize=7)
    top_legend(drawn, axes.flat, ncols=4)
    return drawn


def _draw_points(axis: Any, wide: pd.DataFrame, predictor: str, outcome: str, look: Look) -> None:
    for model in look.models:
        run = select(wide, model=model).sort_values("step")
        # Open, so that equal points of two models (before training) are both seen; the last checkpoint is filled.
        shown = {"marker": look.marker(model), "color": look.color(model)}
        axis.plot(run[predictor], run[outcome], markerfacecolor="none", linewidth=0.6, label=look.label(model), **shown)
        axis.plot(run[predictor].iloc[-1:], run[outcome].iloc[-1:], **shown)


def _draw_nulls(axis: Any, nulls: pd.Series) -> None:
    if len(nulls):
        ticks = {"color": "black", "markersize": 5, "markeredgewidth": 0.8, "label": "nulls (on the x axis)"}
        axis.plot(nulls, [0.04] * len(nulls), "|", transform=axis.get_xaxis_transform(), **ticks)


def _draw_fit(axis: Any, fit: pd.Series | None, wide: pd.DataFrame) -> None:
    if fit is None or np.isnan(fit.slope):
        axis.set_title("no fit", loc="left", fontsize=7)
        return
    x = wide[fit.name[1]]
    ends = np.array([x.min(), x.max()])
    axis.plot(ends, fit.intercept + fit.slope * ends, "--", color=NULL, linewidth=0.9, zorder=0)
    title = f"$R^2$={printed(fit.r2, 2)} [{printed(fit.r2_low, 2)}, {printed(fit.r2_high, 2)}]\n"
    if not np.isnan(fit.partial_r2):
        title += f"partial {printed(fit.partial_r2, 2)}; "
    axis.set_title(title + counted(fit), loc="left", fontsize=7)
