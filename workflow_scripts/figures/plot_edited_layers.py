"""Effect of the same edit by the layer at which it is made, with the band of its controls."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from workflow_scripts.artifacts.tables import select
from workflow_scripts.figures.style import (
    MARKERS,
    NULL,
    PAGE_INCHES,
    PALETTE,
    Look,
    figure,
    integer_ticks,
    interval_range,
    panel_inches,
    top_legend,
    whiskers,
)

COLUMNS = {"difference": "right answers:\nchange (points)", "nll_change": "reference loss:\nchange (nats/token)"}
ALIKE = ["operation", "weight", "selection", "k", "path", "metric"]


def swept_edits(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Rows of one model's swept edits against the unedited answers, by entry, in order of layers.

    An edit of a single layer that has the same operation, selection, k, path and metric joins the sweep as a point.
    """
    rows = select(rows, against="none", kind="edit").dropna(subset="layer")
    swept, single = (select(rows, swept=kind) for kind in (True, False))
    found = {}
    for name in dict.fromkeys(swept["name"]):
        sweep = select(swept, name=name)
        same = single.merge(sweep[ALIKE].iloc[:1], on=ALIKE)  # which takes missing values for equal
        joined = pd.concat([sweep, same[~same["layer"].isin(sweep["layer"])]])
        found[name] = joined.sort_values("layer", kind="stable")
    return found


def plot_edited_layers(tests: pd.DataFrame, display: Mapping[str, Any]) -> Figure:
    """Draw one row of panels per model: a curve per swept edit, a box per layer over the controls' intervals.

    A study that sweeps no edit gets one row, which says so.
    """
    models = sorted(set(tests["model"][tests["kind"] != "left out"]))
    look = Look(display, models)
    sweeps = {model: swept_edits(select(tests, model=model)) for model in models}
    if not any(sweeps.values()):
        sweeps = {"": {}}
    height = panel_inches(len(sweeps), 1.9) * len(sweeps) + 0.5
    drawn, axes = figure(len(sweeps), 2, PAGE_INCHES, height, sharex=True, sharey="col")
    for pair, (model, curves) in zip(axes, sweeps.items()):
        for axis, (column, label) in zip(pair, COLUMNS.items()):
            _draw(axis, select(tests, model=model), curves, column)
            axis.set_ylabel(label, fontsize=7)
        if model:
            n = f" (n={max(curve['n'].max() for curve in curves.values())})" if curves else ""
            pair[0].set_title(f"{look.label(model)}{n}", loc="left")
    for axis in axes[-1]:
        axis.set_xlabel("layer edited")
        integer_ticks(axis.xaxis)
    top_legend(drawn, axes[:, 0], ncols=4)
    return drawn


def _draw(axis: Any, tests: pd.DataFrame, curves: Mapping[str, pd.DataFrame], column: str) -> None:
    axis.axhline(0, color="black", linewidth=0.6)
    if not curves:
        axis.text(0.5, 0.55, "no edit is tried at several layers:\ngive an entry a list of layers", ha="center",
                  transform=axis.transAxes, fontsize=7)  # fmt: skip
        return
    every = sorted({layer for curve in curves.values() for layer in curve["layer"]})
    # Within a layer's share of the axis: the box of each curve's controls, with the curve's point in its middle.
    share = min(0.8 * min(np.diff(every), default=1), 0.1 * (every[-1] - every[0] + 1))
    width = share / len(curves)
    for place, (name, curve) in enumerate(curves.items()):
        x = curve["layer"].to_numpy(dtype=np.float64) + (place + 0.5) * width - share / 2
        for middle, edit in zip(x, curve["edit"]):
            if band := interval_range(select(tests, against="none", kind="control", of=edit), column):
                axis.fill_between([middle - width / 2, middle + width / 2], *band, color=NULL, alpha=0.3, linewidth=0,
                                  label="controls at the layer")  # fmt: skip
        color, marker = PALETTE[place % len(PALETTE)], MARKERS[place % len(MARKERS)]
        whiskers(axis.vlines, x, curve[f"{column}_low"], curve[f"{column}_high"], color=color, linewidth=1.0)
        axis.plot(x, curve[column], ":", color=color, marker=marker, linewidth=0.8, label=name.replace("$", r"\$"))
