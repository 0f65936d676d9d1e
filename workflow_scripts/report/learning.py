"""What training did to the losses: first and last held-out loss of each model, from the training logs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from workflow_scripts.artifacts.tables import read_table, select
from workflow_scripts.report.shown_tables import ShownTable, shown_table
from workflow_scripts.report.table import Column, Table

LEARNING = Table(
    title="Held-out loss",
    caption="Nats per answer token on held-out prompts at the first and the last step.",
    columns={
        "model": Column("Model", "text"),
        "steps": Column("Steps", "count"),
        "minutes": Column("Training, min", digits=1),
        "speech_first": Column("Spoken, first"),
        "speech_last": Column("Spoken, last"),
        "text_first": Column("Written, first"),
        "text_last": Column("Written, last"),
        "n": Column("Prompts held out", "count"),
    },
)


def learning_table(models: Sequence[str], logs: Sequence[Path]) -> ShownTable:
    """One row per model.

    Args:
        models: display names, in the order of `logs`.
        logs: training logs (log.csv).
    """
    rows = [
        {"model": model, **_cells(read_table(path, "training_log"))} for model, path in zip(models, logs, strict=True)
    ]
    frame = pd.DataFrame(rows, columns=list(LEARNING.columns))
    return shown_table("learning", frame, LEARNING, "results/training/*/log.csv")


def _cells(log: pd.DataFrame) -> dict[str, Any]:
    cells = {"steps": log["step"].max(), "minutes": log["seconds"].max() / 60}
    for form in ("speech", "text"):
        losses = select(log, split="heldout", form=form).sort_values("step")["loss_per_token"]
        if len(losses):
            cells |= {f"{form}_first": losses.iloc[0], f"{form}_last": losses.iloc[-1]}
    return cells | {"n": select(log, split="heldout")["n_samples"].max()}
