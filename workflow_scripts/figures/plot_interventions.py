"""Forest plot of the edits of speech vectors, each above its controls, with the ceilings (ours; paper: Table 1).

Per model two panels: change of strictly right answers against unedited speech, in points, and change of the reference
answer's loss, both with 95 % intervals.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from workflow_scripts.figures.style import NULL, PAGE_HEIGHT_INCHES, PAGE_INCHES, Look, Rows, figure, number

COLUMNS = {"difference": "change of right answers (points)", "nll_change": "change of reference loss (nats per token)"}
ROW_INCHES = 0.145
TIGHT_ROW_INCHES = 0.112
"""Height of a label of 7 points with a little air."""
CEILING_NAMES = {"text": "written question", "oracle_transcript": "speech + transcript"}
LEGEND = (
    ("edit", {"marker": "o", "color": "black"}),
    ("control", {"marker": "s", "color": NULL, "markersize": 3}),
    ("ceiling", {"marker": "o", "color": "black", "markerfacecolor": "white"}),
)


def forest_rows(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Rows of one model against the unedited answers: each edit, then its controls; ceilings last; no sweeps."""
    own = [row for row in rows if row["against"] == "none" and not row["swept"]]
    ordered = []
    for edit in own:
        if edit["kind"] == "edit":
            ordered += [edit, *(row for row in own if row["kind"] == "control" and row["of"] == edit["edit"])]
    return ordered + [row for row in own if row["kind"] == "ceiling"]


def plot_interventions(tests: Rows, display: Mapping[str, Any]) -> Figure:
    """Draw one pair of panels per model.

    Where that does not fit on a page, the controls of an edit share its row: a grey box over their intervals. Labels
    keep their size, and a figure that still does not fit is longer than a page.
    """
    table = tests
    models = sorted({row["model"] for row in table})
    look = Look(display, models)
    by_model = {model: forest_rows([row for row in table if row["model"] == model]) for model in models}
    folded = _inches(by_model, ROW_INCHES) > PAGE_HEIGHT_INCHES
    shown = by_model
    if folded:
        shown = {model: [row for row in rows if row["kind"] != "control"] for model, rows in by_model.items()}
    height = _inches(shown, ROW_INCHES)
    if height > PAGE_HEIGHT_INCHES:
        height = max(PAGE_HEIGHT_INCHES, _inches(shown, TIGHT_ROW_INCHES))
    ratios = {"height_ratios": [len(rows) + 1 for rows in shown.values()]}
    options = {"sharex": "col", "sharey": "row", "gridspec_kw": ratios}
    drawn, axes = figure(len(models), 2, PAGE_INCHES, height, **options)
    if folded:
        drawn.get_layout_engine().set(h_pad=0.03)
    for pair, (model, rows) in zip(axes, shown.items()):
        for axis, column in zip(pair, COLUMNS):
            axis.axvline(0, color="black", linewidth=0.6)
            for place, row in enumerate(rows):
                if folded:
                    _draw_controls(axis, -place, [own for own in by_model[model] if own["of"] == row["edit"]], column)
                _draw(axis, -place, row, column, look.color(model))
            axis.set_ylim(-len(rows) + 0.4, 0.6)
            axis.tick_params(axis="y", length=0)
        pair[0].set_yticks([-place for place in range(len(rows))], [_name(row) for row in rows])
        for label, row in zip(pair[0].get_yticklabels(), rows):
            label.set_color("#595959" if row["kind"] == "control" else "black")
        n = f" (n={rows[0]['n']})" if rows else ""
        pair[0].set_title(f"{look.label(model)}{n}", loc="left", pad=2 if folded else None)
    for axis, label in zip(axes[-1], COLUMNS.values()):
        axis.set_xlabel(label)
    handles = [Line2D([], [], linewidth=1.2, label=label, **look_of) for label, look_of in LEGEND]
    if folded:
        handles[1] = Patch(color=NULL, alpha=0.35, linewidth=0, label="range of its controls' intervals")
    drawn.legend(handles=handles, loc="outside upper left", ncols=3)
    return drawn


def _inches(by_model: Mapping[str, Sequence[Any]], row: float) -> float:
    """Height of the figure: rows, each model's title, the axis below and the legend above."""
    return sum(row * len(rows) + 0.2 for rows in by_model.values()) + 0.7


def _draw(axis: Any, place: int, row: Mapping[str, Any], column: str, color: str) -> None:
    value, low, high = (number(row[f"{column}{end}"]) for end in ("", "_low", "_high"))
    if value != value:
        return
    control, ceiling = row["kind"] == "control", row["kind"] == "ceiling"
    shade = NULL if control else color
    if low == low and high == high:
        axis.plot([low, high], [place, place], color=shade, linewidth=0.9 if control else 1.4)
    face = "white" if ceiling else shade
    marker = "s" if control else "o"
    axis.plot([value], [place], marker, color=shade, markerfacecolor=face, markersize=3 if control else 4.5)


def _draw_controls(axis: Any, place: int, controls: Sequence[Mapping[str, Any]], column: str) -> None:
    ends = [(number(row[f"{column}_low"]), number(row[f"{column}_high"])) for row in controls]
    ends = [pair for pair in ends if not any(map(math.isnan, pair))]
    if ends:
        low, high = min(low for low, _ in ends), max(high for _, high in ends)
        axis.barh(place, high - low, 0.8, low, color=NULL, alpha=0.35, linewidth=0)


def _name(row: Mapping[str, Any]) -> str:
    key = str(row["edit"])
    if row["kind"] == "control":
        return f"{str(row['control']).replace('_', ' ')}  "
    return CEILING_NAMES.get(key, key).replace("$", r"\$")
