"""Debiased linear CKA of every speech layer with every text layer, first and last checkpoint of each model (ours)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from workflow_scripts.figures.style import (
    NULL,
    PAGE_INCHES,
    Look,
    Rows,
    figure,
    integer_ticks,
    number,
    panel_inches,
    step_name,
)

STYLES = (("--", "first checkpoint"), ("-", "last checkpoint"))


def plot_cka(cka: Rows, display: Mapping[str, Any]) -> Figure:
    """Draw one row per model: matrix of the first checkpoint, of the last one, and the diagonals with their null.

    All matrices share one scale, from 0 to the highest value of any.
    """
    rows = cka
    models = sorted({row["model"] for row in rows})
    look = Look(display, models)
    ends = {model: _first_and_last([row for row in rows if row["model"] == model]) for model in models}
    drawn_rows = [row for model in models for own in ends[model] for row in own]
    top = max((number(row["cka"]) for row in drawn_rows if row["cka"] is not None), default=1.0)
    height = panel_inches(len(models), 2.1) * len(models) + 0.4
    drawn, axes = figure(len(models), 3, PAGE_INCHES, height)
    for line, model in zip(axes, models):
        for axis, own in zip(line, ends[model]):
            image = axis.imshow(
                _matrix(own), origin="lower", cmap="viridis", vmin=0, vmax=max(top, 0.1), interpolation="nearest"
            )
            axis.set_ylabel(f"{step_name(own[0])}\nspeech layer", fontsize=7)
            integer_ticks(axis.xaxis, axis.yaxis)
        line[0].set_title(f"{look.label(model)} (n={ends[model][-1][0]['n']})", loc="left")
        _draw_diagonals(line[2], ends[model], look.color(model))
        integer_ticks(line[2].xaxis)
    drawn.colorbar(image, ax=axes[:, 1], shrink=min(0.8, 2.4 / height), label="CKA", aspect=25)
    for axis in axes[-1, :2]:
        axis.set_xlabel("text layer")
    axes[-1, 2].set_xlabel("layer (0 = embeddings)")
    handles = [Line2D([], [], color=NULL, linestyle=line, label=label) for line, label in STYLES]
    band = Patch(color=NULL, alpha=0.25, linewidth=0, label="null, last checkpoint")
    drawn.legend(handles=[*handles, band], loc="outside upper right", ncols=3, handlelength=1.6)
    return drawn


def _first_and_last(rows: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Rows of the first and of the last checkpoint, which may be the same."""
    names = sorted({row["checkpoint"] for row in rows})
    return [[row for row in rows if row["checkpoint"] == name] for name in (names[0], names[-1])]


def _matrix(rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
    depth = 1 + max(row["speech_layer"] for row in rows)
    matrix = np.full((depth, depth), np.nan)
    for row in rows:
        matrix[row["speech_layer"], row["text_layer"]] = number(row["cka"])
    return matrix


def _draw_diagonals(axis: Any, ends: Sequence[Sequence[Mapping[str, Any]]], color: str) -> None:
    for rows, (style, _) in zip(ends, STYLES):
        own = sorted(
            (row for row in rows if row["speech_layer"] == row["text_layer"]), key=lambda row: row["speech_layer"]
        )
        x = [row["speech_layer"] for row in own]
        axis.plot(x, [number(row["cka"]) for row in own], style, color=color)
    mean, spread = (np.array([number(row[name]) for row in own]) for name in ("null", "null_sd"))
    axis.fill_between(x, mean - 2 * spread, mean + 2 * spread, color=NULL, alpha=0.25, linewidth=0)
    axis.set_ylabel("CKA, equal layers", fontsize=7)
