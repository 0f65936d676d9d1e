"""KL between the forms by response position and checkpoint, and similarity of response states by checkpoint (ours)."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from workflow_scripts.figures.plot_layers import checkpoint_legend, checkpoint_shades
from workflow_scripts.figures.style import (
    COSINE,
    EUCLIDEAN,
    NULL,
    PAGE_INCHES,
    Look,
    Rows,
    figure,
    integer_ticks,
    number,
    panel_inches,
    top_legend,
)

PREFIX = "text"
KINDS = {"forward": ("KL(text || speech)", "Blues"), "reverse": ("KL(speech || text)", "Oranges")}


def plot_response_kl(positions: Rows, responses: Rows, display: Mapping[str, Any]) -> Figure:
    """Draw one row per model: both directions by position on the answer to the text, and means over training."""
    rows = [row for row in positions if row["prefix"] == PREFIX and row["measure"] in KINDS]
    means = responses
    models = sorted({row["model"] for row in means})
    look = Look(display, models)
    height = panel_inches(len(models), 1.9) * len(models) + 0.5
    drawn, axes = figure(len(models), 3, PAGE_INCHES, height, sharex="col")
    for line, model in zip(axes, models):
        own = [row for row in rows if row["model"] == model]
        for axis, (kind, (_, colors)) in zip(line, KINDS.items()):
            _draw_positions(axis, [row for row in own if row["measure"] == kind], checkpoint_shades(rows, colors))
        _draw_training(line[2], [row for row in means if row["model"] == model])
        n = max((row["n"] for row in own), default=0)
        line[0].set_title(f"{look.label(model)} (n={n})", loc="left")
        for axis, label in zip(line, (*(label for label, _ in KINDS.values()), "mean")):
            axis.set_ylabel(f"{label}\n(nats per token)", fontsize=7, parse_math=False)
    for axis in axes[-1, :2]:
        axis.set_xlabel("response position")
        integer_ticks(axis.xaxis)
    axes[-1, 2].set_xlabel("training step")
    if rows:
        checkpoint_legend(drawn, rows, ncols=4)
    top_legend(drawn, axes[:, 2], "outside upper right", ncols=1)
    return drawn


def _draw_positions(axis: Any, rows: Sequence[Mapping[str, Any]], shades: Mapping[str, Any]) -> None:
    for name in sorted({row["checkpoint"] for row in rows}):
        curve = sorted((row for row in rows if row["checkpoint"] == name), key=lambda row: row["position"])
        axis.plot([row["position"] for row in curve], [number(row["mean"]) for row in curve], color=shades[name])
    axis.set_ylim(bottom=0)


def _draw_training(axis: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    rows = sorted(rows, key=lambda row: row["step"] or 0)
    x = [row["step"] or 0 for row in rows]
    for name, label, color, marker in (
        ("kl_forward_text", "KL(text || speech)", COSINE, "o"),
        ("kl_reverse_text", "KL(speech || text)", EUCLIDEAN, "s"),
        ("kl_forgetting", "forgetting, KL(base || tuned)", NULL, "^"),
    ):
        axis.plot(x, [number(row[name]) for row in rows], marker=marker, color=color, label=label)
    axis.set_ylim(bottom=0)
