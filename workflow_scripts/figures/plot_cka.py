"""Debiased linear CKA of every speech layer with every text layer, first and last checkpoint of each model."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from workflow_scripts.artifacts.tables import select
from workflow_scripts.figures.style import (
    NULL,
    PAGE_INCHES,
    Look,
    by_checkpoint,
    figure,
    integer_ticks,
    panel_inches,
    step_name,
)

STYLES = (("--", "first checkpoint"), ("-", "last checkpoint"))


def plot_cka(cka: pd.DataFrame, display: Mapping[str, Any]) -> Figure:
    """Draw one row per model: matrix of the first checkpoint, of the last one, and the diagonals with their null.

    All matrices share one scale, from 0 to the highest value of any.
    """
    models = sorted(set(cka["model"]))
    look = Look(display, models)
    checkpoints = {model: list(by_checkpoint(select(cka, model=model)).values()) for model in models}
    ends = {model: (parts[0], parts[-1]) for model, parts in checkpoints.items()}
    top = max(np.nanmax([part["cka"].max() for pair in ends.values() for part in pair]), 0.1)
    height = panel_inches(len(models), 2.1) * len(models) + 0.4
    drawn, axes = figure(len(models), 3, PAGE_INCHES, height)
    for line, model in zip(axes, models):
        for axis, part in zip(line, ends[model]):
            matrix = part.pivot(index="speech_layer", columns="text_layer", values="cka")
            layers = np.arange(part["speech_layer"].max() + 1)
            matrix = matrix.reindex(index=layers, columns=layers)
            image = axis.imshow(matrix, origin="lower", cmap="viridis", vmin=0, vmax=top, interpolation="nearest")
            axis.set_ylabel(f"{step_name(part.iloc[0])}\nspeech layer", fontsize=7)
            integer_ticks(axis.xaxis, axis.yaxis)
        line[0].set_title(f"{look.label(model)} (n={ends[model][-1]['n'].max()})", loc="left")
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


def _draw_diagonals(axis: Any, ends: Sequence[pd.DataFrame], color: str) -> None:
    for part, (style, _) in zip(ends, STYLES):
        diagonal = part[part["speech_layer"] == part["text_layer"]].sort_values("speech_layer")
        axis.plot(diagonal["speech_layer"], diagonal["cka"], style, color=color)
    low, high = (diagonal["null"] + sign * 2 * diagonal["null_sd"] for sign in (-1, 1))
    axis.fill_between(diagonal["speech_layer"].astype(float), low, high, color=NULL, alpha=0.25, linewidth=0)
    axis.set_ylabel("CKA, equal layers", fontsize=7)
