"""CSV tables as the page shows them: headings, numbers with fixed decimals, which columns hold numbers."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.tables import read_table
from workflow_scripts.report.captions import COUNTS, HEADINGS, JUDGEMENTS, TABLES

NOTHING = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
NUMBER = r"-?\d+(\.\d+)?"


@dataclass(frozen=True)
class ShownTable:
    """A table ready to print.

    Attributes:
        name: anchor on the page.
        numeric: per column, whether its cells are numbers (aligned right).
        rows: texts of the cells, unescaped.
        latex: there is a LaTeX file beside the CSV.
    """

    name: str
    title: str
    caption: str
    headings: list[str]
    numeric: list[bool]
    rows: list[list[str]]
    latex: bool = True


def fixed(value: float | None, digits: int = 2) -> str:
    """A number with `digits` decimals, a true minus sign unless it rounds to 0, and a dash for nothing."""
    if value is None:
        return NOTHING
    return f"{value:z.{digits}f}".replace("-", MINUS)


def is_numeric(text: str) -> bool:
    """Whether a text is a number or an interval, such as `-1.2 [-3.0, 0.5]`."""
    return re.fullmatch(rf"{NUMBER}|({NUMBER} )?\[{NUMBER}, {NUMBER}\]", text) is not None


def signed(text: str, minus: str = MINUS) -> str:
    """A numeric text with true minus signs."""
    return text.replace("-", minus)


def with_interval(row: Mapping[str, Any], column: str, digits: int = 1) -> str:
    """`value [low, high]` of a column with `_low` and `_high` beside it."""
    if row.get(column) is None:
        return NOTHING
    value, low, high = (fixed(row.get(f"{column}{end}"), digits) for end in ("", "_low", "_high"))
    return f"{value} [{low}, {high}]"


def shown_table(path: Path, subsets: Mapping[str, str], digits: int = 2) -> ShownTable:
    """Read a table of results/tables.

    Args:
        subsets: display names by key, for the columns that are subsets.
    """
    path = Path(path)
    rows = read_table(path)
    columns = list(rows[0]) if rows else []
    if path.stem == "claims" and "verdict" in columns:
        # Beside its claim, where it is seen without scrolling.
        columns.remove("verdict")
        columns.insert(1, "verdict")
    title, caption = (JUDGEMENTS | TABLES).get(path.stem, (path.stem.replace("_", " "), ""))
    return ShownTable(
        name=path.stem,
        title=title,
        caption=caption,
        headings=[HEADINGS.get(column) or subsets.get(column) or column.replace("_", " ") for column in columns],
        numeric=[not any(isinstance(row[column], str | bool) for row in rows) for column in columns],
        rows=[[_cell(row[column], 0 if column in COUNTS else digits) for column in columns] for row in rows],
        latex=path.stem not in JUDGEMENTS,
    )


def _cell(value: Any, digits: int) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return signed(value) if is_numeric(value) else value
    return fixed(value, digits)
