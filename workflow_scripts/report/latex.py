"""Tables as LaTeX (booktabs), with everything escaped."""

import textwrap
from pathlib import Path
from typing import Any

import pandas as pd

from workflow_scripts.artifacts.files import write_text
from workflow_scripts.report.numbers import MINUS, NOTHING, shown
from workflow_scripts.report.table import Column, Table

HEADING_WIDTH = 12
ROWS_PER_PAGE = 45
SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # A row that starts with "[" would be read as the optional argument of the line break before it.
    "[": "{[}",
    "]": "{]}",
}


def escape(text: str) -> str:
    """Text that LaTeX prints as it stands."""
    return "".join(SPECIAL.get(character, character) for character in text)


def cell(value: Any, column: Column) -> str:
    """A cell: numbers with fixed decimals and a true minus sign, nothing as a dash, text escaped."""
    text = escape(shown(value, column))
    return text.replace(MINUS, "$-$").replace(NOTHING, "--") if column.numeric else text or "--"


def heading(text: str) -> str:
    """A column's heading, broken into lines of about a word, so that it is no wider than the numbers below it."""
    lines = textwrap.wrap(text, HEADING_WIDTH, break_long_words=False, break_on_hyphens=False) or [""]
    escaped = [escape(line) for line in lines]
    return escaped[0] if len(escaped) == 1 else r"\shortstack{" + r" \\ ".join(escaped) + "}"


def write_latex(path: Path, frame: pd.DataFrame, table: Table) -> None:
    r"""Write table environments atomically: one, or one per `ROWS_PER_PAGE` rows. Needs booktabs and graphicx.

    A table wider than the line is scaled down to it; a narrower one keeps its size.
    """
    columns = table.columns
    wide = r"p{0.22\linewidth}"
    kinds = (wide if column.kind == "long" else "r" if column.numeric else "l" for column in columns.values())
    rows = [
        " & ".join(cell(value, column) for value, column in zip(row, columns.values())) + r" \\"
        for row in frame[list(columns)].itertuples(index=False)
    ]
    parts = [rows[first : first + ROWS_PER_PAGE] for first in range(0, len(rows), ROWS_PER_PAGE)]
    lines, alignment = [r"% \usepackage{booktabs,graphicx}"], "".join(kinds)
    for number, part in enumerate(parts or [[rf"\multicolumn{{{len(columns)}}}{{l}}{{none}} \\"]]):
        caption = f"{table.caption.split('. ')[0].rstrip('.')} (continued)." if number else table.caption
        lines += [
            r"\begin{table}",
            r"\centering\small\setlength{\tabcolsep}{4pt}",
            rf"\caption{{{escape(caption)}}}",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{{alignment}}}",
            r"\toprule",
            " & ".join(heading(column.heading) for column in columns.values()) + r" \\",
            r"\midrule",
            *part,
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table}",
        ]
    write_text(Path(path), "\n".join(lines) + "\n")
