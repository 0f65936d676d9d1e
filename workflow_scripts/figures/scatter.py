"""What Figures 5 and 7 share: predictors against the gap, one point per checkpoint, with the tabulated fit."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.artifacts.tables import read_table
from workflow_scripts.figures.style import NULL, PAGE_INCHES, Look, counted, figure, number, printed, save, top_legend

OUTCOMES = {"gap": "GAP (points)", "loss_gap": "loss gap (nats per token)"}


def plot_predictors(
    points: Path,
    regression: Path,
    predictors: Mapping[str, str],
    pdf: Path,
    svg: Path,
    png: Path,
    display: Mapping[str, Any],
) -> None:
    """Draw a grid: one row per outcome, one column per predictor, log(1 + step) last as the baseline to beat.

    Ticks on the x axis: the shuffled-pair null of the predictor, one per checkpoint. Above each panel: R2 of the pooled
    fit with its interval over checkpoints, the partial R2 given the models and log(1 + step), and the number of
    checkpoints and of independent training runs.

    Args:
        predictors: axis label by column of `points`.
    """
    rows = read_table(points)
    fits = {(row["outcome"], row["predictor"]): row for row in read_table(regression) if row["pool"] == "pooled"}
    look = Look(display, [row["model"] for row in rows])
    columns = {**predictors, "log_step": "log(1 + step)"}
    with figure(2, len(columns), PAGE_INCHES, 3.9, sharey="row") as (drawn, axes):
        for line, (outcome, outcome_label) in enumerate(OUTCOMES.items()):
            for axis, (predictor, label) in zip(axes[line], columns.items()):
                _draw_points(axis, rows, predictor, outcome, look)
                _draw_fit(axis, fits.get((outcome, predictor)), rows, predictor)
                axis.set_xlabel(label)
            axes[line, 0].set_ylabel(outcome_label)
            axes[line, 0].margins(y=0.15)
        top_legend(drawn, axes.flat, ncols=4)
        save(drawn, pdf, svg, png)


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
