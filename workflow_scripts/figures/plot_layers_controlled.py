"""By layer, what is left of similarity (ours): centred cosine, length-free distance and norm ratio, beside their nulls.

Cosine after each form's mean over the other half of the questions is taken away; Euclidean distance divided by the
geometric mean of the two lengths; log of the ratio of the two lengths. The nulls are those of the last checkpoint.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from workflow_scripts.figures.plot_layers import checkpoint_legend, checkpoint_shades
from workflow_scripts.figures.style import NULL, PAGE_INCHES, Look, Rows, figure, number, panel_inches

PANELS = {
    "similarity_centred": ("centred cosine", "Blues"),
    "length_free": ("length-free distance", "Oranges"),
    "norm_ratio": ("log norm ratio", "Greens"),
}


def plot_layers_controlled(layers: Rows, display: Mapping[str, Any]) -> Figure:
    """Draw one row per model and one panel per measure, over all subsets."""
    rows = [row for row in layers if row["subset"] == "all" and row["metric"] == "cosine"]
    models = sorted({row["model"] for row in rows})
    look = Look(display, models)
    height = panel_inches(len(models), 1.7) * len(models) + 0.5
    drawn, axes = figure(len(models), len(PANELS), PAGE_INCHES, height, sharex=True, sharey="col")
    for line, model in enumerate(models):
        own = sorted((row for row in rows if row["model"] == model), key=lambda row: row["layer"])
        for axis, (name, (label, colors)) in zip(axes[line], PANELS.items()):
            _draw_panel(axis, own, name, checkpoint_shades(rows, colors))
            axis.set_ylabel(label, fontsize=7)
        axes[line, 0].set_title(f"{look.label(model)} (n={max(row['n'] for row in own)})", loc="left")
    for axis in axes[-1]:
        axis.set_xlabel("layer (0 = embeddings)")
    checkpoint_legend(drawn, rows, null="null, last step")
    return drawn


def _draw_panel(axis: Any, rows: Sequence[Mapping[str, Any]], name: str, shades: Mapping[str, Any]) -> None:
    """The curves of one model and measure; `rows` are in order of layers."""
    names = sorted({row["checkpoint"] for row in rows})
    for checkpoint in names:
        curve = [row for row in rows if row["checkpoint"] == checkpoint]
        x = [row["layer"] for row in curve]
        axis.plot(x, [number(row[name]) for row in curve], color=shades[checkpoint])
        if checkpoint == names[-1] and f"{name}_null" in curve[0]:
            axis.plot(x, [number(row[f"{name}_null"]) for row in curve], ":", color=NULL)
    if name == "norm_ratio":
        axis.axhline(0, color=NULL, linewidth=0.6)
