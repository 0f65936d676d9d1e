"""By layer, what is left of similarity (ours): centred cosine, length-free distance and norm ratio, beside their nulls.

Cosine after each form's mean over the other half of the questions is taken away; Euclidean distance divided by the
geometric mean of the two lengths; log of the ratio of the two lengths. The nulls are those of the last checkpoint.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.tables import read_table
from workflow_scripts.figures.plot_layers import checkpoint_legend, checkpoint_shades
from workflow_scripts.figures.style import NULL, PAGE_INCHES, Look, figure, number, panel_inches, save

PANELS = {
    "similarity_centred": ("centred cosine", "Blues"),
    "length_free": ("length-free distance", "Oranges"),
    "norm_ratio": ("log norm ratio", "Greens"),
}


def plot_layers_controlled(layers: Path, pdf: Path, svg: Path, png: Path, display: Mapping[str, Any]) -> None:
    """Draw one row per model and one panel per measure, over all subsets."""
    rows = [row for row in read_table(layers) if row["subset"] == "all" and row["metric"] == "cosine"]
    models = sorted({row["model"] for row in rows})
    look = Look(display, models)
    height = panel_inches(len(models), 1.7) * len(models) + 0.5
    with figure(len(models), len(PANELS), PAGE_INCHES, height, sharex=True, sharey="col") as (drawn, axes):
        for line, model in enumerate(models):
            own = sorted((row for row in rows if row["model"] == model), key=lambda row: row["layer"])
            for axis, (name, (label, colors)) in zip(axes[line], PANELS.items()):
                _draw_panel(axis, own, name, checkpoint_shades(rows, colors))
                axis.set_ylabel(label, fontsize=7)
            axes[line, 0].set_title(f"{look.label(model)} (n={max(row['n'] for row in own)})", loc="left")
        for axis in axes[-1]:
            axis.set_xlabel("layer (0 = embeddings)")
        checkpoint_legend(drawn, rows, null="null, last step")
        save(drawn, pdf, svg, png)


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


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: plot_layers_controlled(s.input.layers, s.output.pdf, s.output.svg, s.output.png, s.params.display),
    )
