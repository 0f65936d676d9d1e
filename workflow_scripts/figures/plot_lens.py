"""Logit lens at speech positions by depth: recall of the question's content words, and of another question's (ours)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.tables import read_table
from workflow_scripts.figures.style import NULL, PAGE_INCHES, Look, figure, number, panel_inches, save


def plot_lens(lens: Path, pdf: Path, svg: Path, png: Path, display: Mapping[str, Any]) -> None:
    """Draw one row per model: recall and control of the first and last checkpoint, and the last one's difference."""
    rows = read_table(lens)
    models = sorted({row["model"] for row in rows}) or ["no model"]
    look = Look(display, models)
    height = panel_inches(len(models), 2.0) * len(models) + 0.5
    with figure(len(models), 2, PAGE_INCHES, height, sharex=True) as (drawn, axes):
        for line, model in zip(axes, models):
            own = sorted((row for row in rows if row["model"] == model), key=lambda row: row["layer"])
            names = sorted({row["checkpoint"] for row in own})
            for checkpoint, style in zip(names, ("-",) if len(names) == 1 else ("--", "-")):
                curve = [row for row in own if row["checkpoint"] == checkpoint]
                x = [row["layer"] for row in curve]
                for name, color in (("recall", look.color(model)), ("control", NULL)):
                    y = [number(row[name]) for row in curve]
                    label = f"{'own words' if name == 'recall' else 'control'}, {checkpoint}"
                    line[0].plot(x, y, style, marker="o", markersize=3, color=color, label=label)
                if checkpoint == names[-1]:
                    low, y, high = (
                        [number(row[name]) for row in curve]
                        for name in ("difference_low", "difference", "difference_high")
                    )
                    line[1].fill_between(x, low, high, color=look.color(model), alpha=0.2, linewidth=0)
                    line[1].plot(x, y, marker="o", markersize=3, color=look.color(model))
                    line[1].axhline(0, color=NULL, linewidth=0.6)
            n = max((row["n"] for row in own), default=0)
            line[0].set_title(f"{look.label(model)}: recall at 10 (n={n})", loc="left", fontsize=7)
            line[1].set_title("own minus control, last checkpoint, 95 %", loc="left", fontsize=7)
            line[0].legend(fontsize=6)
        for axis in axes[-1]:
            axis.set_xlabel("layer (0 = embeddings)")
        save(drawn, pdf, svg, png)


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: plot_lens(s.input.lens, s.output.pdf, s.output.svg, s.output.png, s.params.display),
    )
