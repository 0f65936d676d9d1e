"""Tables as LaTeX (booktabs), with everything escaped."""

import textwrap
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.files import write_text
from workflow_scripts.report.captions import COUNTS
from workflow_scripts.report.html_tables import is_numeric, signed

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


def cell(value: Any, digits: int = 2) -> str:
    """A cell: numbers with `digits` decimals and a true minus sign, nothing as a dash, text escaped."""
    if value is None or value == "":
        return "--"
    if isinstance(value, str):
        return signed(escape(value), "$-$") if is_numeric(value) else escape(value)
    return f"{value:.{digits}f}".replace("-", "$-$")


def heading(text: str) -> str:
    """A column's heading, broken into lines of about a word, so that it is no wider than the numbers below it."""
    lines = textwrap.wrap(text, HEADING_WIDTH, break_long_words=False, break_on_hyphens=False) or [""]
    escaped = [escape(line) for line in lines]
    return escaped[0] if len(escaped) == 1 else r"\shortstack{" + r" \\ ".join(escaped) + "}"


def write_latex(
    path: Path,
    rows: Sequence[Mapping[str, Any]],
    columns: Mapping[str, str],
    caption: str,
    digits: int = 2,
    wrapped: Collection[str] = (),
) -> None:
    r"""Write table environments atomically: one, or one per `ROWS_PER_PAGE` rows. Needs booktabs and graphicx.

    A table wider than the line is scaled down to it; a narrower one keeps its size.

    Args:
        columns: heading by column name, in order; the first is left-aligned if it holds text.
        caption: plain text; says what n is.
        wrapped: columns of long texts, broken into lines.
    """
    text = [column for column in columns if any(isinstance(row.get(column), str) for row in rows)]
    wide = r"p{0.22\linewidth}"
    alignment = "".join(wide if column in wrapped else "l" if column in text else "r" for column in columns)
    parts = [rows[first : first + ROWS_PER_PAGE] for first in range(0, len(rows), ROWS_PER_PAGE)] or [()]
    lines = [r"% \usepackage{booktabs,graphicx}"]
    for part in parts:
        shown = caption if part is parts[0] else f"{caption.split('. ')[0].rstrip('.')} (continued)."
        lines += [
            r"\begin{table}",
            r"\centering\small\setlength{\tabcolsep}{4pt}",
            rf"\caption{{{escape(shown)}}}",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{{alignment}}}",
            r"\toprule",
            " & ".join(map(heading, columns.values())) + r" \\",
            r"\midrule",
            *(
                " & ".join(cell(row.get(column), 0 if column in COUNTS else digits) for column in columns) + r" \\"
                for row in part
            ),
            *([] if part else [rf"\multicolumn{{{len(columns)}}}{{l}}{{none}} \\"]),
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table}",
        ]
    write_text(Path(path), "\n".join(lines) + "\n")
