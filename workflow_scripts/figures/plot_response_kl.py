"""KL between the forms by response position and checkpoint, and its mean by checkpoint."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from workflow_scripts.artifacts.tables import select
from workflow_scripts.figures.plot_layers import checkpoint_legend, checkpoint_shades
from workflow_scripts.figures.style import (
    COSINE,
    EUCLIDEAN,
    NULL,
    PAGE_INCHES,
    Look,
    by_checkpoint,
    figure,
    integer_ticks,
    panel_inches,
    steps,
    top_legend,
)
from workflow_scripts.measures.labels import label

PREFIX = "text"
DIRECTIONS = {"forward": "Blues", "reverse": "Oranges"}
MEANS = {"kl_forward_text": (COSINE, "o"), "kl_reverse_text": (EUCLIDEAN, "s"), "kl_forgetting": (NULL, "^")}


def plot_response_kl(response_positions: pd.DataFrame, responses: pd.DataFrame, display: Mapping[str, Any]) -> Figure:
    """Draw one row per model: both directions by position on the answer to the text, and means over training."""
    rows = select(response_positions, prefix=PREFIX)
    rows = rows[rows["measure"].isin(list(DIRECTIONS))]
    models = sorted(set(responses["model"])) or ["no model"]
    look = Look(display, models)
    height = panel_inches(len(models), 1.9) * len(models) + 0.5
    drawn, axes = figure(len(models), 3, PAGE_INCHES, height, sharex="col")
    for line, model in zip(axes, models):
        measured = select(rows, model=model)
        for axis, (direction, colors) in zip(line, DIRECTIONS.items()):
            _draw_positions(axis, select(measured, measure=direction), checkpoint_shades(rows, colors))
            axis.set_ylabel(f"{label(f'kl_{direction}_text')}\n(nats per token)", fontsize=7, parse_math=False)
        _draw_training(line[2], select(responses, model=model))
        n = measured["n"].max() if len(measured) else 0
        line[0].set_title(f"{look.label(model)} (n={n})", loc="left")
    for axis in axes[-1, :2]:
        axis.set_xlabel("response position")
        integer_ticks(axis.xaxis)
    axes[-1, 2].set_xlabel("training step")
    if len(rows):
        checkpoint_legend(drawn, rows, ncols=4)
    top_legend(drawn, axes[:, 2], "outside upper right", ncols=1)
    return drawn


def _draw_positions(axis: Any, rows: pd.DataFrame, shades: Mapping[str, Any]) -> None:
    for name, curve in by_checkpoint(rows.sort_values("position")).items():
        axis.plot(curve["position"], curve["mean"], color=shades[name])
    axis.set_ylim(bottom=0)


def _draw_training(axis: Any, rows: pd.DataFrame) -> None:
    rows = rows.sort_values("step")
    for name, (color, marker) in MEANS.items():
        axis.plot(steps(rows), rows[name], marker=marker, color=color, label=label(name))
    axis.set(ylabel="mean\n(nats per token)")
    axis.yaxis.label.set_size(7)
    axis.set_ylim(bottom=0)
