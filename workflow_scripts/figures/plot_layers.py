"""Figure 4 of the paper: cosine similarity and Euclidean distance by layer, one curve per checkpoint.

Ours adds the shuffled-pair null of the last checkpoint (mean and two standard deviations): what two unrelated questions
of like length reach.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from workflow_scripts.artifacts.tables import read_table
from workflow_scripts.figures.style import NULL, PAGE_INCHES, Look, figure, number, panel_inches, save

METRICS = {"cosine": ("cosine similarity", "Blues"), "euclidean": ("Euclidean distance", "Oranges")}


def plot_layers(layers: Path, pdf: Path, svg: Path, png: Path, display: Mapping[str, Any]) -> None:
    """Draw one row per model and one panel per metric, over all subsets."""
    rows = [row for row in read_table(layers) if row["subset"] == "all"]
    models = sorted({row["model"] for row in rows})
    look = Look(display, models)
    height = panel_inches(len(models), 1.9) * len(models) + 0.5
    with figure(len(models), 2, PAGE_INCHES, height, sharex=True) as (drawn, axes):
        for column, (metric, (label, colors)) in enumerate(METRICS.items()):
            shades = checkpoint_shades(rows, colors)
            for axis, model in zip(axes[:, column], models):
                own = [row for row in rows if row["model"] == model and row["metric"] == metric]
                _draw_panel(axis, own, shades)
                axis.set_title(f"{look.label(model)}: {label} (n={max(row['n'] for row in own)})", loc="left")
            axes[-1, column].set_xlabel("layer (0 = embeddings)")
            _draw_legend(drawn, axes[:, column], "outside upper " + ("left", "right")[column])
        save(drawn, pdf, svg, png)


def checkpoint_shades(rows: Sequence[Mapping[str, Any]], colors: str) -> dict[str, Any]:
    """Colour of each checkpoint of the figure, darker with training."""
    names = sorted({row["checkpoint"] for row in rows})
    return dict(zip(names, mpl.colormaps[colors](np.linspace(0.35, 0.95, len(names)))))


def _draw_panel(axis: Any, rows: Sequence[Mapping[str, Any]], shades: Mapping[str, Any]) -> None:
    names = sorted({row["checkpoint"] for row in rows})
    for name in names:
        own = sorted((row for row in rows if row["checkpoint"] == name), key=lambda row: row["layer"])
        x = [row["layer"] for row in own]
        label = name if own[0]["step"] is None else f"step {own[0]['step']}"
        axis.plot(x, [number(row["similarity"]) for row in own], color=shades[name], label=label)
        if name == names[-1]:
            mean = np.array([number(row["similarity_null"]) for row in own])
            spread = 2 * np.array([number(row["similarity_null_sd"]) for row in own])
            axis.fill_between(x, mean - spread, mean + spread, color=NULL, alpha=0.3, linewidth=0)
            axis.plot(x, mean, ":", color=NULL, label="null, last step")


def _draw_legend(drawn: Any, axes: Sequence[Any], place: str) -> None:
    found: dict[str, Any] = {}
    for axis in axes:
        handles, labels = axis.get_legend_handles_labels()
        found |= {label: handle for handle, label in zip(handles, labels) if label not in found}
    order = sorted(found, key=lambda label: label.startswith("null"))
    drawn.legend([found[label] for label in order], order, loc=place, ncols=4, handlelength=1.2, columnspacing=0.8)


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: plot_layers(s.input.layers, s.output.pdf, s.output.svg, s.output.png, s.params.display),
    )
