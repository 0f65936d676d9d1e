"""Rows of twins.csv: what distillation changed, beside the same training without it (ours).

A model and its twin differ in `distill` only: same data, warm-up, order and seed. Changes are paired over questions,
with the intervals of gap.csv. They hold for this pair of runs (n_runs 1). Where the pair was trained with other seeds
too, a row with n_runs > 1 has the mean change and Student's interval over the runs, which share their questions.
Forgetting is the change of `text` and `loss_text`: what the model lost or won on written questions.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from workflow_scripts.artifacts.checkpoints import checkpoint_step
from workflow_scripts.evaluation.cells import GAP, LOSS, SCORE, Cell
from workflow_scripts.statistics.means import student_interval

QUANTITIES = {form: (SCORE, form) for form in ("text", "speech", GAP)} | {
    f"loss_{form}": (LOSS, form) for form in ("text", "speech", GAP)
}
"""Scores of `text` and `speech` (0 to 100) and their `gap`; the same of the loss, nats per token of the reference."""


def twin_rows(
    order: Sequence[tuple[str, str]],
    cells: Mapping[tuple[str, str], Mapping[str, Cell]],
    twins: Mapping[str, str],
    repeats: Mapping[str, str],
) -> list[dict[str, Any]]:
    """Rows of every checkpoint that a model shares with its twin, by subset and quantity, then their means over seeds.

    Args:
        order: (model, checkpoint), in the order of the rows.
        cells: by (model, checkpoint) and subset.
        twins: model -> the model it is compared with.
        repeats: model -> the first model that differs from it in nothing but the seed, itself if there is none.
    """
    pairs = list(_pairs(order, cells, twins))
    return [*pairs, *_over_runs(pairs, repeats)]


def _pairs(
    order: Sequence[tuple[str, str]],
    cells: Mapping[tuple[str, str], Mapping[str, Cell]],
    twins: Mapping[str, str],
) -> Iterator[dict[str, Any]]:
    for model, checkpoint in order:
        other = cells.get((twins.get(model, ""), checkpoint), {})
        for subset, cell in cells[model, checkpoint].items() if other else ():
            keys = {"model": model, "twin": twins[model], "checkpoint": checkpoint, "step": checkpoint_step(checkpoint)}
            for quantity, key in QUANTITIES.items():
                if key in cell and key in other[subset]:
                    with_, without = cell[key].number, other[subset][key].number
                    low, high = (with_ - without).interval
                    row = {"subset": subset, "n": cell[key].n, "n_runs": 1, "quantity": quantity, "with": with_.value}
                    row |= {"without": without.value, "change": with_.value - without.value}
                    yield keys | row | {"change_low": low, "change_high": high}


def _over_runs(pairs: Sequence[Mapping[str, Any]], repeats: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """The mean over runs of each change that several of them have; n is that of each run's questions."""
    runs: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in pairs:
        key = (repeats[row["model"]], row["checkpoint"], row["subset"], row["quantity"])
        runs.setdefault(key, []).append(row)
    for rows in runs.values():
        if len(rows) > 1:
            low, high = student_interval(np.array([row["change"] for row in rows]))
            means = {name: float(np.mean([row[name] for row in rows])) for name in ("with", "without", "change")}
            yield {**rows[0], "n_runs": len(rows), **means, "change_low": low, "change_high": high}
