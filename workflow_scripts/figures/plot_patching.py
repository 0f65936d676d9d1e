"""Heat maps of what exchanged states restore, by layer and position class."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from workflow_scripts.artifacts.patches import SPEECH_ONLY, TO_SPEECH, TO_TEXT
from workflow_scripts.artifacts.tables import select
from workflow_scripts.figures.style import PAGE_INCHES, Look, figure, integer_ticks, panel_inches
from workflow_scripts.settings.patching import EVERY_CLASS

LOW, HIGH = -1.0, 1.0
ALPHA = 0.05
TITLES = {TO_SPEECH: "text states into speech", TO_TEXT: "speech states into text"}


def plot_patching(patching: pd.DataFrame, patching_profiles: pd.DataFrame, display: Mapping[str, Any]) -> Figure:
    """Draw one row of two panels per model, single layers only."""
    models = sorted(set(patching_profiles["model"]))
    look = Look(display, models)
    cells, profiles = (_shown(table) for table in (patching, patching_profiles))
    asked = [name for name in EVERY_CLASS if name in set(cells["positions"])] or list(EVERY_CLASS)
    height = panel_inches(len(models), 1.6) * len(models) + 0.2
    drawn, axes = figure(len(models), 2, PAGE_INCHES, height, sharey=True)
    image = None
    for pair, model in zip(axes, models):
        for axis, direction in zip(pair, TITLES):
            own, rows = (select(table, model=model, direction=direction) for table in (cells, profiles))
            image = _draw(axis, own, select(rows, positions="last"), asked) or image
            if axis is pair[0]:
                n = f" (n={int(own['n'].max())})" if len(own) else ""
                axis.set_title(f"{look.label(model)}{n}", loc="left")
    for axis, title in zip(axes[-1], TITLES.values()):
        axis.set_xlabel(f"layer: {title}")
    if image is not None:
        drawn.colorbar(image, ax=axes, label="share restored", shrink=0.9, aspect=20 * len(models))
    return drawn


def _shown(table: pd.DataFrame) -> pd.DataFrame:
    return table[(table["kind"] != SPEECH_ONLY) & (table["window"] == 1)]


def _draw(axis: Any, cells: pd.DataFrame, last: pd.DataFrame, asked: Sequence[str]) -> Any:
    """The image, a row for each of the classes `asked`; None where nothing was patched."""
    axis.set_yticks(range(len(asked)), asked)
    axis.set_ylim(len(asked) - 0.5, -0.5)
    if not len(cells):
        axis.text(0.5, 0.5, "no question to patch", ha="center", va="center", transform=axis.transAxes, fontsize=7)
        axis.set_xticks([])
        return None
    layers = sorted(set(cells["layer"]))
    grid = cells.pivot(index="positions", columns="layer", values="share").reindex(index=asked, columns=layers)
    # Layers may be a selection: each column reaches half-way to its neighbours.
    centres = np.array(layers, dtype=float)
    edges = np.r_[centres[0] - 0.5, (centres[1:] + centres[:-1]) / 2, centres[-1] + 0.5]
    rows = np.arange(len(asked) + 1) - 0.5
    image = axis.pcolormesh(edges, rows, grid.to_numpy(dtype=float), cmap="RdBu_r", vmin=LOW, vmax=HIGH)
    sure = cells[cells["p_holm"] < ALPHA]
    axis.plot(sure["layer"], [asked.index(name) for name in sure["positions"]], "k.", markersize=3)
    for row in last.dropna(subset="first_half").itertuples():
        axis.plot([row.first_half] * 2, [-0.5, 0.5], color="black", linewidth=1.5)
        if np.isfinite(row.first_low + row.first_high):
            axis.plot([row.first_low, row.first_high], [0, 0], color="black", linewidth=0.8)
    axis.set_xlim(edges[0], max(edges[-1], float(last["depth"].max() if len(last) else 0) + 0.5))
    integer_ticks(axis.xaxis)
    return image
