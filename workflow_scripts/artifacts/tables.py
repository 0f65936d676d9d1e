"""Tidy CSV tables: one row per observation, written atomically, read back as typed rows."""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.files import ArtifactError, atomic_path


def write_table(path: Path, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Write rows with exactly `columns`; missing values and NaN become empty cells.

    Raises:
        ArtifactError: a row has a column that is not declared.
    """
    with atomic_path(Path(path)) as temporary, open(temporary, "w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            if extra := set(row) - set(columns):
                raise ArtifactError(f"{path}: undeclared column(s) {sorted(extra)}; declared: {list(columns)}")
            writer.writerow([_cell(row.get(name)) for name in columns])


def read_table(path: Path) -> list[dict[str, Any]]:
    """Rows with numbers converted; empty cells are None.

    Raises:
        ArtifactError: the file is missing or has no header.
    """
    try:
        with open(path, encoding="utf-8", newline="") as source:
            reader = csv.DictReader(source)
            rows = [{name: _value(text) for name, text in row.items()} for row in reader]
            if not reader.fieldnames:
                raise ArtifactError(f"{path}: empty table; delete it and run again")
            return rows
    except FileNotFoundError:
        raise ArtifactError(f"{path}: not found; run the step that writes it first") from None


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return format(value, ".6g") if isinstance(value, float) else str(value)


def _value(text: str | None) -> Any:
    if text is None or text == "":
        return None
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
