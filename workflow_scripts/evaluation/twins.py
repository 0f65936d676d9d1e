"""Rows of twins.csv: what the alignment loss changed, beside the same training without it (ours).

A model and its twin differ in `distill` only: same data, warm-up, order and seed. Changes are paired over questions
(one set of resamples serves both). They hold for this pair of runs; what runs differ by themselves, seeds tell.
Forgetting is the change of `text` and `loss_text`: what the model lost or won on written questions.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workflow_scripts.evaluation.score_index import step_of
from workflow_scripts.statistics.resampling import Resampled

if TYPE_CHECKING:
    from workflow_scripts.evaluation.build_gap_table import Cell

TWIN_COLUMNS = (
    *("model", "twin", "checkpoint", "step", "subset", "n", "quantity", "with", "without"),
    *("change", "change_low", "change_high"),
)


def twin_rows(
    order: Sequence[tuple[str, str]],
    cells: Mapping[tuple[str, str], Mapping[str, "Cell"]],
    twins: Mapping[str, str],
) -> Iterator[dict[str, Any]]:
    """Rows of every checkpoint that a model shares with its twin, by subset and quantity.

    Args:
        order: (model, checkpoint), in the order of the rows.
        cells: by (model, checkpoint) and subset.
        twins: model -> the model it is compared with.

    Quantities: scores of `text` and `speech` (0 to 100) and their `gap`; `loss_text`, `loss_speech` and `loss_gap`,
    nats per token of the reference answer, over the questions that have both. `n` counts each quantity's questions.
    """
    for model, checkpoint in order:
        other = cells.get((twins.get(model, ""), checkpoint), {})
        for subset, cell in cells[model, checkpoint].items() if other else ():
            ours, theirs = _quantities(cell), _quantities(other[subset])
            keys = {"model": model, "twin": twins[model], "checkpoint": checkpoint, "step": step_of(checkpoint)}
            for name, value in ours.items():
                if name in theirs:
                    n = cell.n_loss if name.startswith("loss_") else cell.n
                    row = {"subset": subset, "n": n, "quantity": name}
                    row |= {"with": value.value, "without": theirs[name].value}
                    yield keys | row | (value - theirs[name]).columns("change")


def _quantities(cell: "Cell") -> dict[str, Resampled]:
    found = {form: cell.scores[form] for form in ("text", "speech") if form in cell.scores}
    if len(found) == 2:
        found["gap"] = found["text"] - found["speech"]
    found |= {f"loss_{form}": loss for form, loss in cell.losses.items()}
    if cell.loss_gap is not None:
        found["loss_gap"] = cell.loss_gap
    return found
