"""The reference page's table on distillation: gap, forgetting and alignment beside the twin's."""

from collections.abc import Iterator

import pandas as pd

from workflow_scripts.artifacts.tables import last_checkpoints, select
from workflow_scripts.report.numbers import fixed, with_interval

QUANTITIES = {
    "gap": "GAP, Overall (points)",
    "speech": "Score on speech, Overall (0-100)",
    "text": "Score on text, Overall (forgetting if it falls)",
    "loss_gap": "Loss gap (nats per token)",
    "loss_speech": "Loss of the reference answer after speech (nats per token)",
    "loss_text": "Loss of the reference answer after text (forgetting if it rises)",
}
MEASURES = {
    "cosine_calibrated": "Similarity, cosine, calibrated (0: chance, 1: equal)",
    "path_score_cosine_calibrated": "APS, cosine, calibrated (0: chance, 1: equal)",
    "path_score_euclidean_calibrated": "APS, Euclidean distance, share of the chance distance (1: chance)",
    "kl_forgetting": "KL to the untuned model on text (forgetting)",
}
"""Measures of points.csv: means over questions without a paired interval."""


def twin_cells(twins: pd.DataFrame, points: pd.DataFrame) -> list[list[str]]:
    """Rows of model, twin, quantity, with, without, change [95 %]; none if no model of the study has a twin.

    Args:
        twins: twins.csv; the rows of Overall at each model's last checkpoint are shown, means over runs below the pair
            that is their first.
        points: points.csv, for the measures of alignment and forgetting that have no paired interval.
    """
    shown = last_checkpoints(select(twins, subset="overall"))
    last = last_checkpoints(points).set_index(["model", "measure"])["value"]
    cells = []
    for (model, twin), rows in shown.groupby(["model", "twin"], sort=False):
        lines = (*_paired(rows), *_measured(last.get(model, pd.Series()), last.get(twin, pd.Series())))
        cells += [[model, twin, *line] for line in lines]
    return cells


def _paired(rows: pd.DataFrame) -> Iterator[tuple[str, str, str, str]]:
    for quantity, name in QUANTITIES.items():
        for row in select(rows, quantity=quantity).to_dict("records"):
            change = with_interval(row["change"], row["change_low"], row["change_high"], 2)
            runs = f", mean of {row['n_runs']:.0f} runs" if row["n_runs"] > 1 else ""
            yield name + runs, fixed(row["with"]), fixed(row["without"]), f"{change}, n = {fixed(row['n'], 0)}"


def _measured(ours: pd.Series, theirs: pd.Series) -> Iterator[tuple[str, str, str, str]]:
    for measure, name in MEASURES.items():
        first, second = ours.get(measure, float("nan")), theirs.get(measure, float("nan"))
        yield name, fixed(first, 3), fixed(second, 3), fixed(first - second, 3)
