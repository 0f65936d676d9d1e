"""Every predictor of the gap side by side: R2 over all checkpoints, over runs, beyond training time.

Left of each outcome: R2 with Fisher's interval over checkpoints (thin, optimistic) and the interval over runs
(thick; from three runs on), the leave-one-run-out Q2 as a diamond, and R2 of training time alone as the line to beat.
Right: partial R2 given the models and training time.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from workflow_scripts.artifacts.tables import select
from workflow_scripts.figures.style import COSINE, EUCLIDEAN, NULL, PAGE_INCHES, counted, figure, top_legend, whiskers
from workflow_scripts.measures.labels import label

OUTCOMES = ("gap", "loss_gap")
ROW_INCHES = 0.17


def plot_predictors(regression: pd.DataFrame) -> Figure:
    """Draw one row of two panels per outcome from the pooled rows; training time stands on top."""
    rows = select(regression, pool="pooled")
    names = sorted(dict.fromkeys(rows["predictor"]), key=lambda name: name != "log_step")[::-1]
    drawn, axes = figure(1, 2 * len(OUTCOMES), PAGE_INCHES, ROW_INCHES * len(names) + 0.9, sharey=True)
    for place, outcome in enumerate(OUTCOMES):
        fits = select(rows, outcome=outcome).set_index("predictor").reindex(names)
        _draw_outcome(axes[0, 2 * place : 2 * place + 2], fits, label(outcome))
    axes[0, 0].set_yticks(range(len(names)), [label(name) for name in names], parse_math=False)
    axes[0, 0].set_ylim(-0.6, len(names) - 0.4)
    top_legend(drawn, axes.flat, ncols=5)
    return drawn


def _draw_outcome(axes: Sequence[Any], fits: pd.DataFrame, title: str) -> None:
    """The two panels of an outcome; `fits` has a row per predictor, from the bottom up."""
    height = np.arange(len(fits))
    left, right = axes
    thin = {"color": NULL, "linewidth": 0.8, "label": "95 % over checkpoints"}
    thick = {"color": COSINE, "linewidth": 2.4, "label": "95 % over runs"}
    for name, shown in (("r2", thin), ("r2_runs", thick)):
        if fits[f"{name}_low"].notna().any():
            whiskers(left.hlines, height, fits[f"{name}_low"], fits[f"{name}_high"], **shown)
    # A worthless predictor has a Q2 far below 0: drawn at the edge.
    for values, marker, color, name in (
        (fits["r2"], "o", "black", "$R^2$"),
        (fits["q2"].clip(lower=0), "D", EUCLIDEAN, "$Q^2$ (0 if below)"),
    ):
        if (known := values.notna().to_numpy()).any():
            left.plot(values[known], height[known], marker, color=color, label=name, clip_on=False)
    right.barh(height, fits["partial_r2"].fillna(0), height=0.6, color=COSINE)
    if len(fits) and not np.isnan(baseline := fits["r2"].iloc[-1]):
        left.axvline(baseline, color=NULL, linestyle="--", linewidth=0.9, zorder=0, label="$R^2$ of training time")
    usable = fits[fits["n_runs"].fillna(0) > 0]
    left.set_title(f"{title}\n{counted(usable.iloc[-1]) if len(usable) else ''}", loc="left")
    for axis, name in zip(axes, ("$R^2$ and $Q^2$", "partial $R^2$")):
        axis.set(xlabel=name, xlim=(0, 1))
        axis.set_axisbelow(True)
        axis.grid(axis="y", linewidth=0.3, alpha=0.5)
