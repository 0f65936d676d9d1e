"""KL between the forms by response position and checkpoint, and similarity of response states by checkpoint (ours)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.tables import read_table
from workflow_scripts.figures.plot_layers import checkpoint_shades
from workflow_scripts.figures.style import (
    COSINE,
    EUCLIDEAN,
    NULL,
    PAGE_INCHES,
    Look,
    figure,
    number,
    panel_inches,
    save,
)

PREFIX = "text"
KINDS = {"forward": ("KL(text || speech)", "Blues"), "reverse": ("KL(speech || text)", "Oranges")}


def plot_response_kl(
    positions: Path, responses: Path, pdf: Path, svg: Path, png: Path, display: Mapping[str, Any]
) -> None:
    """Draw one row per model: both directions by position on the answer to the text, and means over training."""
    rows = [row for row in read_table(positions) if row["prefix"] == PREFIX]
    means = read_table(responses)
    models = sorted({row["model"] for row in means})
    look = Look(display, models)
    height = panel_inches(len(models), 1.9) * len(models) + 0.5
    with figure(len(models), 3, PAGE_INCHES, height) as (drawn, axes):
        for line, model in zip(axes, models):
            for axis, (kind, (label, colors)) in zip(line, KINDS.items()):
                own = [row for row in rows if row["model"] == model and row["measure"] == kind]
                shades = checkpoint_shades(rows, colors)
                for name in sorted({row["checkpoint"] for row in own}):
                    curve = sorted((r for r in own if r["checkpoint"] == name), key=lambda row: row["position"])
                    x, y = [row["position"] for row in curve], [number(row["mean"]) for row in curve]
                    step = name if curve[0]["step"] is None else f"step {curve[0]['step']}"
                    axis.plot(x, y, color=shades[name], label=step)
                n = max((row["n"] for row in own), default=0)
                axis.set_title(f"{look.label(model)}: {label}, n={n}", loc="left", parse_math=False, fontsize=7)
                axis.set_ylim(bottom=0)
                axis.xaxis.get_major_locator().set_params(integer=True)
            _draw_training(line[2], [row for row in means if row["model"] == model])
            line[0].set_ylabel("nats per token")
        for axis in axes[-1, :2]:
            axis.set_xlabel("response position")
        axes[-1, 2].set_xlabel("training step")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        drawn.legend(handles, labels, loc="outside upper left", ncols=7, handlelength=1.2, columnspacing=0.8)
        save(drawn, pdf, svg, png)


def _draw_training(axis: Any, rows: list[dict[str, Any]]) -> None:
    rows = sorted(rows, key=lambda row: row["step"] or 0)
    x = [row["step"] or 0 for row in rows]
    for name, label, color, marker in (
        ("kl_forward_text", "KL(text || speech)", COSINE, "o"),
        ("kl_reverse_text", "KL(speech || text)", EUCLIDEAN, "s"),
        ("kl_forgetting", "forgetting, KL(base || tuned)", NULL, "^"),
    ):
        axis.plot(x, [number(row[name]) for row in rows], marker=marker, color=color, label=label)
    axis.set_title("mean over positions", loc="left", fontsize=7)
    axis.set_ylim(bottom=0)
    axis.legend(fontsize=6)


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: plot_response_kl(
            s.input.positions, s.input.responses, s.output.pdf, s.output.svg, s.output.png, s.params.display
        ),
    )
