"""Does a measure say more than training time? Residuals of GAP against residuals of each measure (ours).

Both are what is left after the model and log(1 + step) are regressed out: the slope is the measure's own, and the
squared correlation is its partial R2. A cloud without slope means that training time says it all.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from workflow_scripts.figures.style import NULL, PAGE_INCHES, Look, Rows, figure, number, top_legend
from workflow_scripts.statistics.regression import group_dummies, partial_r2

PREDICTORS = {
    "sim_cosine": "cosine",
    "aps_cosine": "APS, cosine",
    "cka": "CKA",
    "kl_forward_text": "KL(text || speech)",
}
OUTCOMES = {"gap": "GAP, residual (points)", "loss_gap": "loss gap, residual\n(nats per token)"}


def plot_partial_residuals(points: Rows, display: Mapping[str, Any]) -> Figure:
    """Draw one row per outcome and one panel per measure, a marker per checkpoint."""
    rows = points
    runs = np.array([row["model"] for row in rows], dtype=str)
    look = Look(display, list(runs))
    log_step = np.array([number(row["log_step"]) for row in rows])
    covariates = np.column_stack([group_dummies(runs), log_step])
    drawn, axes = figure(len(OUTCOMES), len(PREDICTORS), PAGE_INCHES, 3.9, sharey="row")
    for line, (outcome, outcome_label) in enumerate(OUTCOMES.items()):
        y = np.array([number(row[outcome]) for row in rows])
        for axis, (predictor, label) in zip(axes[line], PREDICTORS.items()):
            x = np.array([number(row[predictor]) for row in rows])
            used = np.isfinite(x) & np.isfinite(y)
            axis.axhline(0, color=NULL, linewidth=0.5)
            axis.set_xlabel(f"{label},\nresidual")
            if used.sum() <= covariates.shape[1] + 2:
                axis.set_title("too few points", loc="left", fontsize=7)
                continue
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
        axes[line, 0].set_ylabel(outcome_label)
    top_legend(drawn, axes.flat, ncols=4)
    return drawn


def residuals(values: np.ndarray, covariates: np.ndarray) -> np.ndarray:
    """What is left of `values` (n,) after [1, covariates (n, c)] are regressed out; rounding becomes 0."""
    design = np.column_stack([np.ones(len(values)), covariates])
    left = values - design @ np.linalg.lstsq(design, values, rcond=1e-10)[0]
    return np.where(np.abs(left) > 1e-10 * np.abs(values).max(initial=0.0), left, 0.0)
