"""Figure 2 of the paper: how far scores fall from the untuned model's text to the tuned model's speech.

Five conditions per model at its last checkpoint (paper section 8): untuned on text and on ASR text, tuned on text, on
ASR text and on speech; once for Overall and once for each subset. Beyond the paper: the 95 % interval of every score,
and the modality gap with its paired interval in a panel of its own, as the interval of a difference is no range of
scores.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from workflow_scripts.artifacts.tables import last_checkpoints, select
from workflow_scripts.figures.style import (
    NULL,
    PAGE_INCHES,
    Look,
    figure,
    panel_inches,
    printed,
    step_name,
    top_legend,
    whiskers,
)

CONDITIONS = {
    "base_text": ("untuned, text", "#000000", ""),
    "base_asr": ("untuned, ASR text", "#8C8C8C", "//"),
    "tuned_text": ("tuned, text", "#0072B2", ""),
    "tuned_asr": ("tuned, ASR text", "#56B4E9", "//"),
    "tuned_speech": ("tuned, speech", "#D55E00", ""),
}
FIRST = {"overall": 0, "knowledge": 1}
"""Means over subsets stand before single subsets."""


def plot_decline(decline: pd.DataFrame, display: Mapping[str, Any]) -> Figure:
    """Draw one row of panels per model: bars, a group per subset, Overall first; beside them the gap by subset."""
    last = last_checkpoints(decline)
    models = sorted(set(last["model"]))
    look = Look(display, models)
    if not models:
        drawn, axes = figure(1, 1, PAGE_INCHES, 1.2)
        axes[0, 0].text(0.5, 0.5, "no model with a known untuned backbone", ha="center", va="center")
        axes[0, 0].set_axis_off()
        return drawn
    subsets = sorted(set(last["subset"]), key=lambda name: (FIRST.get(name, len(FIRST)), name))
    height = panel_inches(len(models), 1.9) * len(models) + 0.4
    shared = {"sharex": "col", "sharey": "col", "gridspec_kw": {"width_ratios": (2.6, 1)}}
    drawn, axes = figure(len(models), 2, PAGE_INCHES, height, **shared)
    for (bars, gaps), model in zip(axes, models):
        rows = select(last, model=model)
        _draw_bars(bars, rows, subsets)
        _draw_gaps(gaps, rows, subsets)
        gaps.set_yticks(-np.arange(len(subsets)), [look.subset(name) for name in subsets])
        bars.set_title(f"{look.label(model)}, {_summary(rows, look)}", loc="left", fontsize=7.5)
        bars.set_ylabel("score (0-100)" if len(models) <= 5 else "score")
    names = [f"{look.subset(name)}\n{_n(last, name)}" for name in subsets]
    axes[-1, 0].set_xticks(np.arange(len(subsets)), names, rotation=35, ha="right", rotation_mode="anchor")
    axes[-1, 1].set_xlabel("modality gap (points)")
    top_legend(drawn, [axes[0, 0]], ncols=5)
    return drawn


def _by_subset(rows: pd.DataFrame, measure: str, subsets: Sequence[str]) -> np.ndarray:
    """Value, low and high of a measure, (3, subsets); NaN where there is none."""
    found = select(rows, measure=measure).set_index("subset").reindex(subsets)
    return found[["value", "low", "high"]].to_numpy(dtype=np.float64).T


def _draw_bars(axis: Any, rows: pd.DataFrame, subsets: Sequence[str]) -> None:
    width = 0.8 / len(CONDITIONS)
    for place, (measure, (label, color, hatch)) in enumerate(CONDITIONS.items()):
        x = np.arange(len(subsets)) + (place - 2) * width
        value, low, high = _by_subset(rows, measure, subsets)
        known = np.isfinite(value)
        axis.bar(x[known], value[known], width * 0.92, color=color, hatch=hatch, edgecolor="white", linewidth=0.4,
                 label=label)  # fmt: skip
        # A bar without height would look like a score that is missing.
        axis.hlines(0 * x[known], x[known] - width * 0.46, x[known] + width * 0.46, color=color, linewidth=1.6)
        whiskers(axis.vlines, x, low, high, color="black" if measure != "base_text" else NULL, linewidth=0.6)
    axis.set_ylim(bottom=0)
    axis.margins(x=0.01)


def _draw_gaps(axis: Any, rows: pd.DataFrame, subsets: Sequence[str]) -> None:
    gap, low, high = _by_subset(rows, "modality_gap", subsets)
    y = -np.arange(len(subsets))
    axis.axvline(0, color=NULL, linewidth=0.6)
    whiskers(axis.hlines, y, low, high, color="black", linewidth=0.9)
    axis.plot(gap, y, "o", color="black", markersize=3)
    axis.set_ylim(-len(subsets) + 0.4, 0.6)


def _n(rows: pd.DataFrame, subset: str) -> str:
    counts = sorted(set(select(rows, subset=subset)["n"]))
    return f"n={counts[0]}" if len(counts) == 1 else f"n={counts[0]}-{counts[-1]}"


def _summary(rows: pd.DataFrame, look: Look) -> str:
    subset = "overall" if "overall" in set(rows["subset"]) else rows["subset"].iloc[0]
    rows = select(rows, subset=subset).set_index("measure").reindex(["erosion", "modality_gap", "decline"])
    erosion, gap, decline = (printed(value, 1) for value in rows["value"])
    low, high = (printed(rows.loc["modality_gap", end], 1) for end in ("low", "high"))
    return (
        f"{step_name(rows.loc['modality_gap'])}: erosion {erosion} + modality gap {gap} [{low}, {high}] "
        f"= decline {decline} points ({look.subset(subset)})"
    )
