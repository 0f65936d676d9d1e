"""Rows of twins.csv: what distillation changed, beside the same training without it (ours).

A model and its twin differ in `distill` only: same data, warm-up, order and seed. Changes are paired over questions,
with the intervals of gap.csv. They hold for this pair of runs; what runs differ by themselves, seeds tell.
Forgetting is the change of `text` and `loss_text`: what the model lost or won on written questions.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from workflow_scripts.artifacts.checkpoints import checkpoint_step
from workflow_scripts.evaluation.cells import GAP, LOSS, SCORE, Cell

QUANTITIES = {form: (SCORE, form) for form in ("text", "speech", GAP)} | {
    f"loss_{form}": (LOSS, form) for form in ("text", "speech", GAP)
}
"""Scores of `text` and `speech` (0 to 100) and their `gap`; the same of the loss, nats per token of the reference."""


def twin_rows(
    order: Sequence[tuple[str, str]],
    cells: Mapping[tuple[str, str], Mapping[str, Cell]],
    twins: Mapping[str, str],
) -> Iterator[dict[str, Any]]:
    """Rows of every checkpoint that a model shares with its twin, by subset and quantity.

    Args:
        order: (model, checkpoint), in the order of the rows.
        cells: by (model, checkpoint) and subset.
        twins: model -> the model it is compared with.
    """
    for model, checkpoint in order:
        other = cells.get((twins.get(model, ""), checkpoint), {})
        for subset, cell in cells[model, checkpoint].items() if other else ():
            keys = {"model": model, "twin": twins[model], "checkpoint": checkpoint, "step": checkpoint_step(checkpoint)}
            for quantity, key in QUANTITIES.items():
                if key in cell and key in other[subset]:
                    with_, without = cell[key].number, other[subset][key].number
                    low, high = (with_ - without).interval
                    row = {"subset": subset, "n": cell[key].n, "quantity": quantity, "with": with_.value}
                    row |= {"without": without.value, "change": with_.value - without.value}
                    yield keys | row | {"change_low": low, "change_high": high}
