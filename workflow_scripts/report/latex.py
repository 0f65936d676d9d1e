"""Tables as LaTeX (booktabs), with everything escaped."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.files import write_text
from workflow_scripts.report.captions import COUNTS

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
        return escape(value)
    return f"{value:.{digits}f}".replace("-", "$-$")


def write_latex(
    path: Path,
    rows: Sequence[Mapping[str, Any]],
    columns: Mapping[str, str],
    caption: str,
    digits: int = 2,
    wrapped: Collection[str] = (),
) -> None:
    """Write a table environment atomically.

    Args:
        columns: heading by column name, in order; the first is left-aligned if it holds text.
        caption: plain text; says what n is.
        wrapped: columns of long texts, broken into lines.
    """
    text = [column for column in columns if any(isinstance(row.get(column), str) for row in rows)]
    wide = r"p{0.22\linewidth}"
    alignment = "".join(wide if column in wrapped else "l" if column in text else "r" for column in columns)
    lines = [
        r"\begin{table}",
        r"\centering\small",
        rf"\caption{{{escape(caption)}}}",
        rf"\begin{{tabular}}{{{alignment}}}",
        r"\toprule",
        " & ".join(escape(heading) for heading in columns.values()) + r" \\",
        r"\midrule",
        *(
            " & ".join(cell(row.get(column), 0 if column in COUNTS else digits) for column in columns) + r" \\"
            for row in rows
        ),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    write_text(Path(path), "\n".join(lines) + "\n")
