"""Does a measure say more than training time? Residuals of the gap against residuals of each measure.

Both are what is left after the model and log(1 + step) are regressed out: the slope is that of the measure alone, and
the squared correlation is its partial R2. Points without slope: the measure adds nothing to training time.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from workflow_scripts.artifacts.tables import without_repeated_starts
from workflow_scripts.figures.style import NULL, PAGE_INCHES, Look, figure, measures_side_by_side, top_legend
from workflow_scripts.measures.labels import axis_label, label
from workflow_scripts.statistics.regression import group_dummies, partial_r2

PREDICTORS = ("cosine", "path_score_cosine", "cka", "kl_forward_text")
OUTCOMES = ("gap", "loss_gap")


def plot_partial_residuals(points: pd.DataFrame, display: Mapping[str, Any]) -> Figure:
    """Draw one row per outcome and one panel per measure, a marker per checkpoint."""
    wide = without_repeated_starts(measures_side_by_side(points, [*PREDICTORS, *OUTCOMES, "log_step"]))
    runs = wide["model"].to_numpy(dtype=str)
    look = Look(display, list(runs))
    covariates = np.column_stack([group_dummies(runs), wide["log_step"]])
    drawn, axes = figure(len(OUTCOMES), len(PREDICTORS), PAGE_INCHES, 3.9, sharey="row")
    for line, outcome in zip(axes, OUTCOMES):
        for axis, predictor in zip(line, PREDICTORS):
            _draw_panel(axis, wide[predictor].to_numpy(), wide[outcome].to_numpy(), covariates, runs, look)
            axis.set_xlabel(f"{label(predictor)},\nresidual", fontsize=7)
        line[0].set_ylabel(f"residual of\n{axis_label(outcome, 30)}")
    top_legend(drawn, axes.flat, ncols=4)
    return drawn


def _draw_panel(axis: Any, x: np.ndarray, y: np.ndarray, covariates: np.ndarray, runs: np.ndarray, look: Look) -> None:
    used = np.isfinite(np.column_stack([x, y, covariates])).all(axis=1)
    axis.axhline(0, color=NULL, linewidth=0.5)
    if used.sum() <= covariates.shape[1] + 2:
        axis.set_title("too few points", loc="left", fontsize=7)
        return
    dx, dy = (residuals(values[used], covariates[used]) for values in (x, y))
    for model in look.models:
        own = runs[used] == model
        shown = {"color": look.color(model), "label": look.label(model)}
        axis.plot(dx[own], dy[own], look.marker(model), linestyle="none", **shown)
    value = partial_r2(y, x, covariates).value
    title = "undefined" if np.isnan(value) else f"partial $R^2$={value:.2f}, n={int(used.sum())}"
    axis.set_title(title, loc="left", fontsize=7)
    if dx @ dx > 0:
        ends = np.array([dx.min(), dx.max()])
        axis.plot(ends, (dx @ dy) / (dx @ dx) * ends, "--", color=NULL, linewidth=0.9, zorder=0)


def residuals(values: np.ndarray, covariates: np.ndarray) -> np.ndarray:
    """What is left of `values` (n,) after [1, covariates (n, c)] are regressed out; rounding becomes 0."""
    design = np.column_stack([np.ones(len(values)), covariates])
    left = values - design @ np.linalg.lstsq(design, values, rcond=1e-10)[0]
    return np.where(np.abs(left) > 1e-10 * np.abs(values).max(initial=0.0), left, 0.0)
