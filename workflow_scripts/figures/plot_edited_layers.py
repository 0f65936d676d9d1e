"""Effect of the same edit by the layer at which it is made, with the band of its controls (ours)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from workflow_scripts.figures.style import (
    MARKERS,
    NULL,
    PAGE_INCHES,
    PALETTE,
    Look,
    Rows,
    figure,
    integer_ticks,
    number,
    panel_inches,
    top_legend,
    whiskers,
)

COLUMNS = {"difference": "right answers:\nchange (points)", "nll_change": "reference loss:\nchange (nats/token)"}


def swept_edits(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Rows of one model's swept edits against the unedited answers, by entry, in order of layers.

    An edit of a single layer that has the same operation, selection, k, path and metric joins the sweep as a point.
    """
    own = [row for row in rows if row["against"] == "none" and row["kind"] == "edit" and isinstance(row["layer"], int)]
    alike = ("operation", "weight", "selection", "k", "path", "metric")
    found = {}
    for name in dict.fromkeys(row["name"] for row in own if row["swept"]):
        swept = [row for row in own if row["name"] == name]
        layers = {row["layer"] for row in swept}
        same = [row for row in own if not row["swept"] and all(row[key] == swept[0][key] for key in alike)]
        swept += [row for row in same if row["layer"] not in layers]
        found[name] = sorted(swept, key=lambda row: row["layer"])
    return found


def plot_edited_layers(tests: Rows, display: Mapping[str, Any]) -> Figure:
    """Draw one row of panels per model: a curve per swept edit, a box per layer over the controls' intervals.

    A study that sweeps no edit gets one row, which says so.
    """
    table = tests
    models = sorted({row["model"] for row in table})
    look = Look(display, models)
    if not any(swept_edits([row for row in table if row["model"] == model]) for model in models):
        table, models = [], [""]
    height = panel_inches(len(models), 1.9) * len(models) + 0.5
    drawn, axes = figure(len(models), 2, PAGE_INCHES, height, sharex=True, sharey="col")
    for pair, model in zip(axes, models):
        rows = [row for row in table if row["model"] == model]
        curves = swept_edits(rows)
        n = max((row["n"] for swept in curves.values() for row in swept), default=0)
        for axis, (column, label) in zip(pair, COLUMNS.items()):
            _draw(axis, rows, curves, column)
            axis.set_ylabel(label, fontsize=7)
        if model:
            pair[0].set_title(f"{look.label(model)} (n={n})" if n else look.label(model), loc="left")
    for axis in axes[-1]:
        axis.set_xlabel("layer edited")
        integer_ticks(axis.xaxis)
    top_legend(drawn, axes[:, 0], ncols=4)
    return drawn


def _draw(axis: Any, rows: Sequence[Mapping[str, Any]], curves: Mapping[str, Sequence], column: str) -> None:
    axis.axhline(0, color="black", linewidth=0.6)
    if not curves:
        axis.text(0.5, 0.55, "no edit is tried at several layers:\ngive an entry a list of layers", ha="center",
                  transform=axis.transAxes, fontsize=7)  # fmt: skip
        return
    every = sorted({row["layer"] for swept in curves.values() for row in swept})
    # Within a layer's share of the axis: the box of each curve's controls, with the curve's point in its middle.
    share = min(0.8 * min(np.diff(every), default=1), 0.1 * (every[-1] - every[0] + 1))
    width = share / len(curves)
    for place, (name, swept) in enumerate(curves.items()):
        x = np.array([row["layer"] for row in swept]) + (place + 0.5) * width - share / 2
        bands = [_band(rows, row["edit"], column) for row in swept]
        for middle, band in zip(x, bands):
            if band is not None:
                axis.fill_between([middle - width / 2, middle + width / 2], *band, color=NULL, alpha=0.3, linewidth=0,
                                  label="controls at the layer")  # fmt: skip
        value, low, high = (np.array([number(row[f"{column}{end}"]) for row in swept]) for end in ("", "_low", "_high"))
        color = PALETTE[place % len(PALETTE)]
        whiskers(axis.vlines, x, low, high, color=color, linewidth=1.0)
        marker = MARKERS[place % len(MARKERS)]
        axis.plot(x, value, ":", color=color, marker=marker, linewidth=0.8, label=name.replace("$", r"\$"))


def _band(rows: Sequence[Mapping[str, Any]], edit: str, column: str) -> tuple[float, float] | None:
    """Lowest lower and highest upper end of the intervals of an edit's controls."""
    own = [row for row in rows if row["kind"] == "control" and row["of"] == edit and row["against"] == "none"]
    ends = [(number(row[f"{column}_low"]), number(row[f"{column}_high"])) for row in own]
    ends = [pair for pair in ends if np.isfinite(pair).all()]
    return (min(low for low, _ in ends), max(high for _, high in ends)) if ends else None
