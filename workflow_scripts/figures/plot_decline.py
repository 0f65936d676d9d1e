"""Figure 2 of the paper: how far scores fall from the untuned model's text to the tuned model's speech.

Five references per model at its last checkpoint (paper section 8): untuned on text and on ASR text, tuned on text, on
ASR text and on speech; once for Overall and once for each subset. Ours: the 95 % interval of every score, and the
modality gap with its paired interval in a panel of its own, as the interval of a difference is no range of scores.
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
    figure,
    number,
    panel_inches,
    printed,
    step_name,
    top_legend,
    whiskers,
)

REFERENCES = {
    "base_text": ("untuned, text", "#000000", ""),
    "base_asr": ("untuned, ASR text", "#8C8C8C", "//"),
    "tuned_text": ("tuned, text", "#0072B2", ""),
    "tuned_asr": ("tuned, ASR text", "#56B4E9", "//"),
    "tuned_speech": ("tuned, speech", "#D55E00", ""),
}
FIRST = {"overall": 0, "knowledge": 1}
"""Means over subsets stand before single subsets."""


def last_rows(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Rows of each model's last step, by model."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for model in sorted({row["model"] for row in rows}):
        own = [row for row in rows if row["model"] == model]
        last = max(number(row["step"]) if row["step"] is not None else -1 for row in own)
        found[model] = [row for row in own if (-1 if row["step"] is None else row["step"]) == last]
    return found


def plot_decline(decline: Rows, display: Mapping[str, Any]) -> Figure:
    """Draw one row of panels per model: bars, a group per subset, Overall first; beside them the gap by subset."""
    groups = last_rows(decline)
    look = Look(display, list(groups))
    if not groups:
        drawn, axes = figure(1, 1, PAGE_INCHES, 1.2)
        axes[0, 0].text(0.5, 0.5, "no model with a known untuned backbone", ha="center", va="center")
        axes[0, 0].set_axis_off()
        return drawn
    every = [row for rows in groups.values() for row in rows]
    subsets = sorted({row["subset"] for row in every}, key=lambda name: (FIRST.get(name, len(FIRST)), name))
    height = panel_inches(len(groups), 1.9) * len(groups) + 0.4
    shared = {"sharex": "col", "sharey": "col", "gridspec_kw": {"width_ratios": (2.6, 1)}}
    drawn, axes = figure(len(groups), 2, PAGE_INCHES, height, **shared)
    for (bars, gaps), (model, rows) in zip(axes, groups.items()):
        found = {row["subset"]: row for row in rows}
        _draw_bars(bars, [found.get(name, {}) for name in subsets])
        _draw_gaps(gaps, [found.get(name, {}) for name in subsets])
        gaps.set_yticks(-np.arange(len(subsets)), [look.subset(name) for name in subsets])
        bars.set_title(
            f"{look.label(model)}, {_summary(found.get('overall', rows[0]), look)}", loc="left", fontsize=7.5
        )
        bars.set_ylabel("score (0-100)" if len(groups) <= 5 else "score")
    names = [f"{look.subset(name)}\n{_n(every, name)}" for name in subsets]
    axes[-1, 0].set_xticks(np.arange(len(subsets)), names, rotation=35, ha="right", rotation_mode="anchor")
    axes[-1, 1].set_xlabel("modality gap (points)")
    top_legend(drawn, [axes[0, 0]], ncols=5)
    return drawn


def _draw_bars(axis: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    width = 0.8 / len(REFERENCES)
    for place, (column, (label, color, hatch)) in enumerate(REFERENCES.items()):
        x = np.arange(len(rows)) + (place - 2) * width
        value, low, high = (
            np.array([number(row.get(f"{column}{end}")) for row in rows]) for end in ("", "_low", "_high")
        )
        known = np.isfinite(value)
        axis.bar(x[known], value[known], width * 0.92, color=color, hatch=hatch, edgecolor="white", linewidth=0.4,
                 label=label)  # fmt: skip
        # A bar without height would look like a score that is missing.
        axis.hlines(0 * x[known], x[known] - width * 0.46, x[known] + width * 0.46, color=color, linewidth=1.6)
        whiskers(axis.vlines, x, low, high, color="black" if column != "base_text" else NULL, linewidth=0.6)
    axis.set_ylim(bottom=0)
    axis.margins(x=0.01)


def _draw_gaps(axis: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    gap, low, high = (
        np.array([number(row.get(f"modality_gap{end}")) for row in rows]) for end in ("", "_low", "_high")
    )
    y = -np.arange(len(rows))
    axis.axvline(0, color=NULL, linewidth=0.6)
    whiskers(axis.hlines, y, low, high, color="black", linewidth=0.9)
    axis.plot(gap, y, "o", color="black", markersize=3)
    axis.set_ylim(-len(rows) + 0.4, 0.6)


def _n(rows: Sequence[Mapping[str, Any]], subset: str) -> str:
    counts = sorted({row["n"] for row in rows if row["subset"] == subset})
    return f"n={counts[0]}" if len(counts) == 1 else f"n={counts[0]}-{counts[-1]}"


def _summary(row: Mapping[str, Any], look: Look) -> str:
    erosion, gap, low, high, decline = (
        printed(row[name], 1)
        for name in ("erosion", "modality_gap", "modality_gap_low", "modality_gap_high", "decline")
    )
    return (
        f"{step_name(row)}: erosion {erosion} + modality gap {gap} [{low}, {high}] "
        f"= decline {decline} points ({look.subset(row['subset'])})"
    )
