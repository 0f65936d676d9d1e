"""What training did to the losses: first and last held-out loss of each model, from the training logs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.tables import read_table
from workflow_scripts.report.html_tables import NOTHING, ShownTable, fixed

HEADINGS = (
    *("Model", "Steps", "Training, min", "Spoken, first", "Spoken, last", "Written, first", "Written, last"),
    "Prompts held out",
)


def learning_table(models: Sequence[str], curves: Sequence[Path]) -> ShownTable:
    """One row per model.

    Args:
        models: display names, in the order of `curves`.
        curves: training logs (log.csv).
    """
    return ShownTable(
        name="learning",
        title="Held-out loss",
        caption="Nats per answer token on held-out prompts at the first and the last step.",
        headings=list(HEADINGS),
        numeric=[heading != "Model" for heading in HEADINGS],
        rows=[[model, *_cells(read_table(path))] for model, path in zip(models, curves, strict=True)],
    )


def _cells(rows: Sequence[dict[str, Any]]) -> list[str]:
    if not rows:
        return [NOTHING] * (len(HEADINGS) - 1)
    heldout = [row for row in rows if row["split"] == "heldout"]
    seconds = max((row["seconds"] for row in rows if row["seconds"] is not None), default=None)
    cells = [fixed(max(row["step"] for row in rows), 0), fixed(None if seconds is None else seconds / 60, 1)]
    for form in ("speech", "text"):
        own = sorted((row for row in heldout if row["form"] == form), key=lambda row: row["step"])
        cells += [fixed(own[place]["loss_per_token"]) if own else NOTHING for place in (0, -1)]
    return [*cells, fixed(max((row["n_samples"] for row in heldout), default=None), 0)]
