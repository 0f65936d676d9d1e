"""Forest plot of the edits of speech vectors, each above its controls, with the ceilings (paper: Table 1).

Per model two panels: change of strictly right answers against unedited speech, in points, and change of the reference
answer's loss, both with 95 % intervals.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from workflow_scripts.artifacts.tables import select
from workflow_scripts.figures.style import NULL, PAGE_HEIGHT_INCHES, PAGE_INCHES, Look, figure, interval_range

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
NOTHING = "no edits: none in the grid, or no model that can be edited"


def forest_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of one model against the unedited answers: each edit, then its controls; ceilings last; no sweeps."""
    rows = select(rows, against="none", swept=False)
    parts = [
        part
        for edit in rows["edit"][rows["kind"] == "edit"]
        for part in (select(rows, edit=edit), select(rows, kind="control", of=edit))
    ]
    return pd.concat([*parts, select(rows, kind="ceiling")])


def plot_interventions(tests: pd.DataFrame, display: Mapping[str, Any]) -> Figure:
    """Draw one pair of panels per model.

    Where that does not fit on a page, the controls of an edit share its row: a grey box over their intervals. Labels
    keep their size, and a figure that still does not fit is longer than a page.
    """
    models = sorted(set(tests["model"]))
    look = Look(display, models)
    by_model = {model: rows for model in models if len(rows := forest_rows(select(tests, model=model)))}
    by_model = by_model or {"": tests.iloc[:0]}
    folded = _inches(by_model, ROW_INCHES) > PAGE_HEIGHT_INCHES
    shown = by_model
    if folded:
        shown = {model: rows[rows["kind"] != "control"] for model, rows in by_model.items()}
    height = _inches(shown, ROW_INCHES)
    if height > PAGE_HEIGHT_INCHES:
        height = max(PAGE_HEIGHT_INCHES, _inches(shown, TIGHT_ROW_INCHES))
    ratios = {"height_ratios": [len(rows) + 1 for rows in shown.values()]}
    drawn, axes = figure(len(shown), 2, PAGE_INCHES, height, sharex="col", sharey="row", gridspec_kw=ratios)
    if folded:
        drawn.get_layout_engine().set(h_pad=0.03)
    for pair, (model, rows) in zip(axes, shown.items()):
        for axis, column in zip(pair, COLUMNS):
            axis.axvline(0, color="black", linewidth=0.6)
            for place, row in enumerate(rows.itertuples()):
                if folded and (span := interval_range(select(by_model[model], of=row.edit), column)):
                    axis.barh(-place, span[1] - span[0], 0.8, span[0], color=NULL, alpha=0.35, linewidth=0)
                _draw(axis, -place, row, column, look.color(model))
            axis.set_ylim(-len(rows) + 0.4, 0.6)
            axis.tick_params(axis="y", length=0)
        pair[0].set_yticks(-np.arange(len(rows)), [_name(row) for row in rows.itertuples()])
        for tick, kind in zip(pair[0].get_yticklabels(), rows["kind"]):
            tick.set_color("#595959" if kind == "control" else "black")
        title = f"{look.label(model)} (n={rows['n'].iloc[0]})" if model else NOTHING
        pair[0].set_title(title, loc="left", pad=2 if folded else None)
    for axis, label in zip(axes[-1], COLUMNS.values()):
        axis.set_xlabel(label)
    handles = [Line2D([], [], linewidth=1.2, label=label, **look_of) for label, look_of in LEGEND]
    if folded:
        handles[1] = Patch(color=NULL, alpha=0.35, linewidth=0, label="range of its controls' intervals")
    drawn.legend(handles=handles, loc="outside upper left", ncols=3)
    return drawn


def _inches(by_model: Mapping[str, pd.DataFrame], row: float) -> float:
    """Height of the figure: rows, each model's title, the axis below and the legend above."""
    return sum(row * len(rows) + 0.2 for rows in by_model.values()) + 0.7


def _draw(axis: Any, place: int, row: Any, column: str, color: str) -> None:
    value, low, high = (getattr(row, f"{column}{end}") for end in ("", "_low", "_high"))
    control = row.kind == "control"
    shade = NULL if control else color
    axis.plot([low, high], [place, place], color=shade, linewidth=0.9 if control else 1.4)
    face = "white" if row.kind == "ceiling" else shade
    marker, size = ("s", 3) if control else ("o", 4.5)
    axis.plot([value], [place], marker, color=shade, markerfacecolor=face, markersize=size)


def _name(row: Any) -> str:
    if row.kind == "control":
        return f"{row.control.replace('_', ' ')}  "
    return CEILING_NAMES.get(row.edit, row.edit).replace("$", r"\$")
