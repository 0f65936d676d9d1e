"""log.csv: the learning curve, kept beside the trainer's own state while a run is unfinished."""

from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.tables import read_table, write_table

COLUMNS = (
    "step",
    "split",
    "form",
    "loss_per_token",
    "n_samples",
    "n_tokens",
    "learning_rate",
    "seconds",
)
"""step: optimiser steps done; split: train (since the last row) or heldout; form: speech, text or all; loss_per_token:
nats per target token; learning_rate: the language model's after the step; seconds: of training so far, all restarts."""


class LearningCurve:
    """Rows of log.csv, written to `path` on `save`; a resumed run goes on from the rows up to its step."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []

    def resume(self, step: int) -> None:
        """Take over the rows of the interrupted run up to `step`."""
        self.rows = [row for row in read_table(self.path) if row["step"] <= step]

    @property
    def seconds(self) -> float:
        """Training time at the last row."""
        return max((row["seconds"] for row in self.rows), default=0.0)

    def add(self, **row: Any) -> None:
        """Append one row with the columns of `COLUMNS`."""
        self.rows.append(row)

    def save(self, path: Path | None = None) -> None:
        """Write all rows, atomically."""
        write_table(path or self.path, self.rows, COLUMNS)
