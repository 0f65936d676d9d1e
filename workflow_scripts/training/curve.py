"""log.csv: the learning curve, kept beside the trainer's own state while a run is unfinished."""

from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.tables import TRAINING_LOG, read_columns, write_columns


class LearningCurve:
    """Rows of log.csv, written to `path` on `save`; a resumed run goes on from the rows up to its step."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []

    def resume(self, step: int) -> None:
        """Take over the rows of the interrupted run up to `step`."""
        rows = read_columns(self.path, TRAINING_LOG)
        self.rows = rows[rows["step"] <= step].to_dict("records")

    @property
    def seconds(self) -> float:
        """Training time at the last row."""
        return max((row["seconds"] for row in self.rows), default=0.0)

    def add(self, **row: Any) -> None:
        """Append one row with the columns of `TRAINING_LOG`."""
        self.rows.append(row)

    def save(self, path: Path | None = None) -> None:
        """Write all rows, atomically."""
        write_columns(path or self.path, self.rows, TRAINING_LOG)
