"""The page of an audit: one HTML file that needs no network and runs no script."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from workflow_scripts.artifacts.files import write_text
from workflow_scripts.audit.compare import ALL, DIFFERENCES
from workflow_scripts.audit.conclusions import Conclusion

MAX_SHOWN = 40
"""Rows of unpaired and of differently scored answers on the page; the tables hold the rest."""
_LEFT, _WIDTH, _ROW = 250, 420, 24  # pixels of the forest plot: labels, axis, row
FORMS = ("text", "speech", "asr")


def write_page(
    path: Path,
    files: Sequence[Mapping[str, Any]],
    facts: Mapping[str, Any],
    conclusions: Sequence[Conclusion],
    tables: Mapping[str, Sequence[Mapping[str, Any]]],
) -> None:
    """Write index.html; whatever stood in an answer file is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"points": points, "percent": percent, "p_value": p_value}
    gap = tables["gap"]
    content = {
        "files": files,
        "facts": facts,
        "conclusions": conclusions,
        "scores": _score_rows(gap, ALL),
        "groups": [row for row in _score_rows(gap, None) if row["group"] != ALL and row["source"] != "recorded"],
        "forest": forest([row for row in _score_rows(gap, ALL)]),
        "traits": _trait_rows(tables["traits"]),
        "tests": tables["tests"],
        "cascade": tables["cascade"],
        "has_asr": any(row["form"] == "asr" for row in gap),
        "disagreements": tables["disagreements"][:MAX_SHOWN],
        "n_disagreements": len(tables["disagreements"]),
        "unpaired": tables["unpaired"][:MAX_SHOWN],
        "n_unpaired": len(tables["unpaired"]),
    }
    write_text(Path(path), environment.get_template("page.html.j2").render(content))


def points(row: Mapping[str, Any] | None, digits: int = 1) -> str:
    """`value [low, high]` with true minus signs; a dash for nothing."""
    if not row:
        return "\N{EN DASH}"
    shown = [f"{row[name]:z.{digits}f}" for name in ("value", "low", "high")]
    return f"{shown[0]} [{shown[1]}, {shown[2]}]".replace("-", "\N{MINUS SIGN}")


def percent(share: float | None) -> str:
    """A share as a percentage with one decimal."""
    return "\N{EN DASH}" if share is None else f"{100 * share:.1f}"


def p_value(p: float) -> str:
    """A p value with two significant digits."""
    return "< 0.0001" if p < 1e-4 else f"{p:.2g}"


def _score_rows(gap: Sequence[Mapping[str, Any]], group: str | None) -> list[dict[str, Any]]:
    """One row a subset, group and scorer, with scores, differences and unparsed shares by form."""
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in gap:
        if group is not None and row["group"] != group:
            continue
        keys = {name: row[name] for name in ("subset", "group", "scorer", "source")}
        one = found.setdefault(tuple(keys.values()), keys | {"n": row["n"], "unparsed": {}, **dict.fromkeys(FORMS)})
        one.setdefault("gap", None)
        if row["measure"] == "unparsed":
            one["unparsed"][row["form"]] = row["value"]
        else:
            one[row["form"]] = row
    for one in found.values():
        one |= {name: one.get(name) for name in DIFFERENCES}
    return list(found.values())


def _trait_rows(traits: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row a subset and trait, shares by form."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in traits:
        one = found.setdefault(
            (row["subset"], row["trait"]), {"subset": row["subset"], "trait": row["trait"], **dict.fromkeys(FORMS)}
        )
        one[row["form"]] = row["share"]
    return list(found.values())


def forest(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Coordinates of a forest plot of the gaps, in pixels; no intervals for single pairs."""
    shown = [row for row in rows if row["gap"] is not None]
    ends = [end for row in shown for end in (row["gap"]["low"], row["gap"]["high"], row["gap"]["value"]) if end == end]
    low, high = min([*ends, 0.0]), max([*ends, 0.0])
    margin = 0.05 * max(high - low, 1.0)
    low, high = low - margin, high + margin

    def place(value: float) -> float:
        return round(_LEFT + _WIDTH * (value - low) / (high - low), 1)

    step = next(size for size in (1, 2, 5, 10, 20, 50, 100) if (high - low) / size <= 8)
    first = int(low // step) + 1
    ticks = [value * step for value in range(first, int(high // step) + 1)]
    return {
        "width": _LEFT + _WIDTH + 20,
        "height": _ROW * len(shown) + 50,
        "zero": place(0.0),
        "bottom": _ROW * len(shown) + 10,
        "ticks": [{"x": place(value), "label": str(value).replace("-", "\N{MINUS SIGN}")} for value in ticks],
        "rows": [
            {
                "y": _ROW * number + 20,
                "label": f"{row['subset']}: {row['scorer']}",
                "source": row["source"],
                "x": place(row["gap"]["value"]),
                "low": place(row["gap"]["low"]) if row["gap"]["low"] == row["gap"]["low"] else None,
                "high": place(row["gap"]["high"]) if row["gap"]["high"] == row["gap"]["high"] else None,
            }
            for number, row in enumerate(shown)
        ],
    }
