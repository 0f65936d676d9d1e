"""Every predictor of the gap side by side (ours): R2 over all checkpoints, over resampled runs, beyond training time.

Left of each outcome: R2 with Fisher's interval over checkpoints (thin, optimistic) and the range over resampled runs
(thick; from three runs on), the leave-one-run-out Q2 as a diamond, and R2 of training time alone as the line to beat.
Right: partial R2 given the models and training time.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from workflow_scripts.figures.style import (
    COSINE,
    EUCLIDEAN,
    NULL,
    PAGE_INCHES,
    Rows,
    counted,
    figure,
    number,
    top_legend,
)

OUTCOMES = {"gap": "GAP", "loss_gap": "loss gap"}
LABELS = {
    "log_step": "log(1 + step)",
    "sim_cosine": "cosine",
    "sim_cosine_calibrated": "cosine, calibrated",
    "sim_cosine_centred": "cosine, centred",
    "sim_euclidean": "Euclid",
    "sim_euclidean_calibrated": "Euclid, calibrated",
    "sim_length_free": "length-free distance",
    "aps_cosine": "APS, cosine",
    "aps_cosine_calibrated": "APS, cosine, calibrated",
    "aps_cosine_centred": "APS, cosine, centred",
    "aps_euclidean": "APS, Euclid",
    "aps_euclidean_calibrated": "APS, Euclid, calibrated",
    "monotone_score": "score of monotone path",
    "cka": "CKA",
    "mutual_knn": "mutual kNN",
    "kl_forward_text": "KL(text || speech)",
    "kl_reverse_text": "KL(speech || text)",
    "response_cosine": "response states, cosine",
    "loss_gap": "loss gap",
}


def plot_predictors(regression: Rows) -> Figure:
    """Draw one row of two panels per outcome from the pooled rows."""
    rows = [row for row in regression if row["pool"] == "pooled"]
    drawn, axes = figure(1, 2 * len(OUTCOMES), PAGE_INCHES, 3.6, sharey=True)
    for place, (outcome, label) in enumerate(OUTCOMES.items()):
        found = {row["predictor"]: row for row in rows if row["outcome"] == outcome}
        _draw_outcome(axes[0, 2 * place : 2 * place + 2], found, label)
    names = list(LABELS)[::-1]
    axes[0, 0].set_yticks(range(len(names)), [LABELS[name] for name in names], parse_math=False)
    axes[0, 0].set_ylim(-0.6, len(names) - 0.4)
    top_legend(drawn, axes.flat, ncols=5)
    return drawn


def _draw_outcome(axes: Sequence[Any], found: Mapping[str, Mapping[str, Any]], label: str) -> None:
    names = list(LABELS)[::-1]
    for height, name in enumerate(names):
        row = found.get(name)
        if row is None or row["r2"] is None:
            continue
        interval = [number(row[end]) for end in ("r2_low", "r2_high")]
        axes[0].plot(interval, [height] * 2, color=NULL, linewidth=0.8, label="95 % over checkpoints")
        over_runs = [number(row[end]) for end in ("r2_runs_low", "r2_runs_high")]
        if over_runs[0] == over_runs[0]:
            axes[0].plot(over_runs, [height] * 2, color=COSINE, linewidth=2.4, label="range over runs")
        axes[0].plot(number(row["r2"]), height, "o", color="black", label="$R^2$", clip_on=False)
        if row["q2"] is not None:
            # A worthless predictor has a Q2 far below 0: drawn at the edge.
            q2 = max(number(row["q2"]), 0.0)
            axes[0].plot(q2, height, "D", color=EUCLIDEAN, label="$Q^2$ (0 if below)", clip_on=False)
        if row.get("partial_r2") is not None:
            axes[1].barh(height, number(row["partial_r2"]), height=0.6, color=COSINE)
    if (baseline := found.get("log_step")) is not None and baseline["r2"] is not None:
        r2 = number(baseline["r2"])
        axes[0].axvline(r2, color=NULL, linestyle="--", linewidth=0.9, zorder=0, label="$R^2$ of training time")
    numbers = next((row for row in found.values() if row["n_runs"]), None)
    axes[0].set_title(f"{label}\n{'' if numbers is None else counted(numbers)}", loc="left")
    for axis, name in zip(axes, ("$R^2$ and $Q^2$", "partial $R^2$")):
        axis.set_xlabel(name)
    for axis in axes:
        axis.set_xlim(0, 1)
        axis.set_axisbelow(True)
        axis.grid(axis="y", linewidth=0.3, alpha=0.5)
