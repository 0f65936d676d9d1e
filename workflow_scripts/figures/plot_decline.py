"""Figure 2 of the paper: how far scores fall from the untuned model's text to the tuned model's speech.

Five references per model at its last checkpoint (paper section 8): untuned on text and on ASR text, tuned on text, on
ASR text and on speech; once for Overall and once for each subset. Ours: the whisker on the speech bar is the 95 %
interval of the modality gap, counted down from the tuned model's text score: where it reaches that score, the interval
includes a gap of zero.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.artifacts.tables import read_table
from workflow_scripts.figures.style import PAGE_INCHES, Look, figure, number, panel_inches, printed, save

REFERENCES = {
    "base_text": ("untuned, text", "#000000", ""),
    "base_asr": ("untuned, ASR text", "#8C8C8C", "//"),
    "tuned_text": ("tuned, text", "#0072B2", ""),
    "tuned_asr": ("tuned, ASR text", "#56B4E9", "//"),
    "tuned_speech": ("tuned, speech", "#D55E00", ""),
}


def last_rows(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Rows of each model's last step, by model."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for model in sorted({row["model"] for row in rows}):
        own = [row for row in rows if row["model"] == model]
        last = max(number(row["step"]) if row["step"] is not None else -1 for row in own)
        found[model] = [row for row in own if (-1 if row["step"] is None else row["step"]) == last]
    return found


def plot_decline(decline: Path, pdf: Path, svg: Path, png: Path, display: Mapping[str, Any]) -> None:
    """Draw the bars: one panel per model, one group per subset, Overall first; differences are printed on Overall."""
    groups = last_rows(read_table(decline))
    look = Look(display, list(groups))
    if not groups:
        with figure(1, 1, PAGE_INCHES, 1.2) as (drawn, axes):
            axes[0, 0].text(0.5, 0.5, "no model with a known untuned backbone", ha="center", va="center")
            axes[0, 0].set_axis_off()
            save(drawn, pdf, svg, png)
        return
    height = panel_inches(len(groups), 1.9) * len(groups) + 0.4
    with figure(len(groups), 1, PAGE_INCHES, height, sharex=True, sharey=True) as (drawn, axes):
        for axis, (model, rows) in zip(axes[:, 0], groups.items()):
            rows = sorted(rows, key=lambda row: ({"overall": 0, "knowledge": 1}.get(row["subset"], 2), row["subset"]))
            width = 0.8 / len(REFERENCES)
            for place, (column, (label, color, hatch)) in enumerate(REFERENCES.items()):
                x = np.arange(len(rows)) + (place - 2) * width
                height = np.array([number(row[column]) for row in rows])
                known = np.isfinite(height)
                axis.bar(
                    x[known],
                    height[known],
                    width * 0.92,
                    color=color,
                    hatch=hatch,
                    edgecolor="white",
                    linewidth=0.4,
                    label=label,
                )
            _draw_gap_interval(axis, np.arange(len(rows)) + 2 * width, rows)
            axis.set_title(f"{look.label(model)}, {_summary(rows[0], look)}", loc="left")
            axis.set_xticks(np.arange(len(rows)), [f"{look.subset(row['subset'])}\nn={row['n']}" for row in rows])
            axis.set_ylabel("score (0-100)" if len(groups) <= 5 else "score")
            axis.margins(x=0.01)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        drawn.legend(handles, labels, loc="outside upper left", ncols=5, handlelength=1.4, columnspacing=1.0)
        save(drawn, pdf, svg, png)


def _summary(row: Mapping[str, Any], look: Look) -> str:
    erosion, gap, low, high, decline = (
        printed(row[name], 1)
        for name in ("erosion", "modality_gap", "modality_gap_low", "modality_gap_high", "decline")
    )
    return (
        f"{row['checkpoint']}: erosion {erosion} + modality gap {gap} [{low}, {high}] "
        f"= decline {decline} points ({look.subset(row['subset'])})"
    )


def _draw_gap_interval(axis: Any, x: np.ndarray, rows: Sequence[Mapping[str, Any]]) -> None:
    text, gap, low, high = (
        np.array([number(row[column]) for row in rows])
        for column in ("tuned_text", "modality_gap", "modality_gap_low", "modality_gap_high")
    )
    known = np.isfinite(text + gap + low + high)
    spread = np.abs(np.stack([high - gap, gap - low]))[:, known]
    axis.errorbar(x[known], (text - gap)[known], yerr=spread, fmt="none", ecolor="black", elinewidth=0.8, capsize=1.5)


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: plot_decline(s.input.decline, s.output.pdf, s.output.svg, s.output.png, s.params.display),
    )
