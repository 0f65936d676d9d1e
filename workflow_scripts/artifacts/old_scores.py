"""Long tables of scores as the wide rows that report and figures still read (going away with their last reader)."""

from typing import Any

KEY = ("model", "checkpoint", "step", "subset", "cascade")
_PREFIXES = {"unparsed": "unparsed_{}", "loss": "nll_{}", "word_error_rate": "wer_{}", "score": "{}"}


class _Row(dict[str, Any]):
    """A row whose absent cells are None."""

    def __missing__(self, name: str) -> None:
        return None

    def get(self, name: str, default: Any = None) -> Any:
        return dict.get(self, name, default)


def wide(name: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of gap, decline or cascade with one column per measure; other tables as they are."""
    if name not in ("gap", "decline", "cascade"):
        return rows
    found: dict[tuple[Any, ...], _Row] = {}
    for row in rows:
        key = {column: row[column] for column in KEY if column in row}
        one = found.setdefault(tuple(key.values()), _Row(key | {"n": row["n"]}))
        measure, form = row["measure"], row.get("form", "")
        column = _PREFIXES.get(measure, measure + "_{}").format(form) if name == "gap" else measure
        column = "loss_gap" if (measure, form) == ("loss", "gap") else column
        one |= {column: row["value"], f"{column}_low": row["low"], f"{column}_high": row["high"]}
        if column == "loss_gap":
            one["n_loss"] = row["n"]
        if measure == "letter_accuracy":
            one["n_options"] = min(row["n"], one.get("n_options") or row["n"])
        if measure == "score" and row["null"] is not None:
            one["chance"] = row["null"]
        if measure == "error_overlap":
            one["error_overlap_chance"] = row["null"]
    return list(found.values())
