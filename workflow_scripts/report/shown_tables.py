"""Tables as the page shows them: headings, and cells as texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from workflow_scripts.artifacts.tables import read_columns, read_table, select
from workflow_scripts.measures.labels import label
from workflow_scripts.report.numbers import fixed, plain_interval, shown, types
from workflow_scripts.report.table import JUDGEMENTS, TABLES, Column, Table


@dataclass(frozen=True)
class ShownTable:
    """A table ready to print.

    Attributes:
        name: anchor on the page.
        files: where its numbers lie.
        rows: texts of the cells, unescaped.
    """

    name: str
    title: str
    caption: str
    files: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]


def shown_table(name: str, frame: pd.DataFrame, table: Table, files: str) -> ShownTable:
    """The columns of `table` from a frame that has them."""
    columns = list(table.columns.values())
    cells = [[shown(value, column) for value in frame[key]] for key, column in table.columns.items()]
    return ShownTable(name, table.title, table.caption, files, columns, list(zip(*cells)))


def read_shown_table(path: Path, subsets: Mapping[str, str]) -> ShownTable:
    """A table of results/tables; `subsets` are display names by key."""
    name = Path(path).stem
    table = TABLES[name].with_subsets(subsets)
    return shown_table(name, read_columns(path, types(table)), table, f"results/tables/{name}, as CSV and LaTeX")


def read_judgements(path: Path) -> ShownTable:
    """A table of the correlation stage, with measures by their labels and intervals beside their values."""
    name = Path(path).stem
    frame, table = read_table(path, name), JUDGEMENTS[name]
    if name == "regression":
        frame = select(frame, pool="pooled")
        frame = frame.assign(r2=_intervals(frame, "r2"), r2_runs=_ranges(frame))
    if name == "claims":
        frame = frame.assign(estimate=_intervals(frame, "estimate", ends=("low", "high")))
    for column in {"measure", "predictor", "outcome"} & set(frame):
        frame[column] = frame[column].map(label)
    return shown_table(name, frame, table, f"{name}.csv")


def _intervals(frame: pd.DataFrame, column: str, ends: tuple[str, str] | None = None) -> list[str]:
    low, high = ends or (f"{column}_low", f"{column}_high")
    return [plain_interval(*cells, digits=2) for cells in zip(frame[column], frame[low], frame[high])]


def _ranges(frame: pd.DataFrame) -> list[str]:
    ends = zip(frame["r2_runs_low"], frame["r2_runs_high"])
    return ["" if pd.isna(low) else f"{fixed(low)} to {fixed(high)}" for low, high in ends]
