"""The reference page's table on training with an alignment loss: gap, forgetting and alignment beside the twin's."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from workflow_scripts.report.html_tables import NOTHING, fixed, with_interval
from workflow_scripts.report.score_tables import last_rows

Row = Mapping[str, Any]
HEADER = ("model", "twin", "quantity", "with", "without", "change [95 %]")
QUANTITIES = {
    "gap": "GAP, Overall (points)",
    "speech": "Score on speech, Overall (0-100)",
    "text": "Score on text, Overall (forgetting if it falls)",
    "loss_gap": "Loss gap (nats per token)",
    "loss_speech": "Loss of the reference answer after speech (nats per token)",
    "loss_text": "Loss of the reference answer after text (forgetting if it rises)",
}
MEASURES = {
    "sim_cosine_calibrated": "Similarity, cosine, calibrated (0: chance, 1: equal)",
    "aps_cosine_calibrated": "APS, cosine, calibrated (0: chance, 1: equal)",
    "aps_euclidean_calibrated": "APS, Euclid, share of the chance distance (1: chance)",
    "kl_forgetting": "KL to the untuned model on text (forgetting)",
}
"""Columns of points.csv: means over questions without a paired interval."""


def twin_cells(twins: Sequence[Row], points: Sequence[Row]) -> list[list[str]]:
    """Cells of `HEADER`; none if no model of the study has a twin.

    Args:
        twins: twins.csv; the rows of Overall at each model's last checkpoint are shown.
        points: points.csv, for the measures of alignment and forgetting that have no paired interval.
    """
    shown = last_rows([row for row in twins if row["subset"] == "overall"])
    last = {row["model"]: row for row in last_rows(points)}
    cells = []
    for model, twin in {row["model"]: row["twin"] for row in shown}.items():
        paired = {row["quantity"]: row for row in shown if row["model"] == model}
        measured = _measured(last.get(model, {}), last.get(twin, {}))
        cells += [[model, twin, *own] for own in (*_paired(paired), *measured)]
    return cells


def _paired(rows: Mapping[str, Row]) -> Iterator[tuple[str, str, str, str]]:
    for quantity, name in QUANTITIES.items():
        if quantity in rows:
            row = rows[quantity]
            change = f"{with_interval(row, 'change', 2)}, n = {fixed(row['n'], 0)}"
            yield name, fixed(row["with"]), fixed(row["without"]), change


def _measured(ours: Row, theirs: Row) -> Iterator[tuple[str, str, str, str]]:
    for column, name in MEASURES.items():
        first, second = ours.get(column), theirs.get(column)
        change = NOTHING if first is None or second is None else fixed(first - second, 3)
        yield name, fixed(first, 3), fixed(second, 3), change
