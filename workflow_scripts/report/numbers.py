"""Numbers as people read them: fixed decimals, a true minus sign, a dash for nothing, intervals in brackets."""

from typing import Any

import pandas as pd

from workflow_scripts.artifacts.tables import NUMBER, TEXT, TRUTH, WHOLE
from workflow_scripts.report.table import Column, Table

NOTHING = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"

STORED = {"number": NUMBER, "count": WHOLE, "truth": TRUTH}
"""Type in the CSV file by kind of column; the other kinds are texts."""


def types(table: Table) -> dict[str, str]:
    """Types of the columns of a table's CSV file."""
    return {name: STORED.get(column.kind, TEXT) for name, column in table.columns.items()}


def fixed(value: Any, digits: int = 2) -> str:
    """A number with `digits` decimals, a minus sign unless it rounds to 0, and a dash for nothing."""
    return NOTHING if pd.isna(value) else f"{value:z.{digits}f}".replace("-", MINUS)


def with_interval(value: Any, low: Any, high: Any, digits: int = 1) -> str:
    """`value [low, high]`; the value alone without interval, a dash for nothing."""
    if pd.isna(value) or pd.isna(low) or pd.isna(high):
        return fixed(value, digits)
    return f"{fixed(value, digits)} [{fixed(low, digits)}, {fixed(high, digits)}]"


def plain_interval(value: Any, low: Any, high: Any, digits: int = 1) -> str:
    """The same for files: ASCII minus signs, nothing for nothing."""
    return "" if pd.isna(value) else with_interval(value, low, high, digits).replace(MINUS, "-")


def shown(value: Any, column: Column) -> str:
    """A cell of a table; texts stay as they are, whatever they look like."""
    if column.kind in ("text", "long", "verdict"):
        return str(value)
    if column.kind == "interval":
        return value.replace("-", MINUS) or NOTHING
    if column.kind == "truth":
        return NOTHING if pd.isna(value) else "yes" if value else "no"
    return fixed(value, 0 if column.kind == "count" else column.digits)
