"""Debiased linear CKA of every speech layer with every text layer, first and last checkpoint of each model (ours)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.artifacts.tables import read_table
from workflow_scripts.figures.style import PAGE_INCHES, Look, figure, number, panel_inches, save


def plot_cka(cka: Path, pdf: Path, svg: Path, png: Path, display: Mapping[str, Any]) -> None:
    """Draw one row per model: matrix of the first checkpoint, of the last one, and the diagonals with their null."""
    rows = read_table(cka)
    models = sorted({row["model"] for row in rows})
    look = Look(display, models)
    height = panel_inches(len(models), 2.1) * len(models) + 0.4
    with figure(len(models), 3, PAGE_INCHES, height) as (drawn, axes):
        for line, model in zip(axes, models):
            own = [row for row in rows if row["model"] == model]
            names = sorted({row["checkpoint"] for row in own})
            for axis, checkpoint in zip(line, (names[0], names[-1])):
                matrix, n = _matrix([row for row in own if row["checkpoint"] == checkpoint])
                image = axis.imshow(matrix, origin="lower", cmap="viridis", vmin=0, vmax=1, interpolation="nearest")
                axis.set_title(f"{look.label(model)}, {checkpoint} (n={n})", loc="left", fontsize=7)
                axis.set_ylabel("speech layer")
            drawn.colorbar(image, ax=line[1], shrink=0.85)
            _draw_diagonals(line[2], own, (names[0], names[-1]), look.color(model))
        for axis in axes[-1, :2]:
            axis.set_xlabel("text layer")
        axes[-1, 2].set_xlabel("layer (0 = embeddings)")
        save(drawn, pdf, svg, png)


def _matrix(rows: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, int]:
    depth = 1 + max(row["speech_layer"] for row in rows)
    matrix = np.full((depth, depth), np.nan)
    for row in rows:
        matrix[row["speech_layer"], row["text_layer"]] = number(row["cka"])
    return matrix, rows[0]["n"]


def _draw_diagonals(axis: Any, rows: Sequence[Mapping[str, Any]], checkpoints: Sequence[str], color: str) -> None:
    for checkpoint, style in zip(dict.fromkeys(checkpoints), ("-", "--")[-len(set(checkpoints)) :][::-1]):
        own = [row for row in rows if row["checkpoint"] == checkpoint and row["speech_layer"] == row["text_layer"]]
        own.sort(key=lambda row: row["speech_layer"])
        x = [row["speech_layer"] for row in own]
        axis.plot(x, [number(row["cka"]) for row in own], style, color=color, label=checkpoint)
        mean = np.array([number(row["null"]) for row in own])
        spread = 2 * np.array([number(row["null_sd"]) for row in own])
        axis.fill_between(x, mean - spread, mean + spread, color="#8C8C8C", alpha=0.25, linewidth=0)
    axis.set_title("equal layers; grey: null", loc="left", fontsize=7)
    axis.legend()


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: plot_cka(s.input.cka, s.output.pdf, s.output.svg, s.output.png, s.params.display),
    )
