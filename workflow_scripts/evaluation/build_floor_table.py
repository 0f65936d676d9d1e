"""floors.csv: what a checkpoint scores without listening, beside what it scores in speech.

Forms: `speech`; `silence` and `other`, its floors (`answer_floors`); `above_silence` and `above_other`, speech minus
floor on the same questions. Measures: the score in points, the share of unread answers, and those of the scorer and of
the options. A spoken score that is not above its floors says nothing about listening. Intervals: as in
gap.csv.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workflow_scripts.artifacts.checkpoints import checkpoint_step
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.tables import TEXT, WHOLE, write_columns
from workflow_scripts.evaluation.score_index import FLOORS, PROPORTIONS, FormScores, read_scores
from workflow_scripts.statistics.resampling import Resampled, Resampler

logger = logging.getLogger(__name__)

FLOOR_COLUMNS = {
    **dict.fromkeys(("model", "checkpoint"), TEXT),
    "step": WHOLE,
    **dict.fromkeys(("subset", "form", "measure"), TEXT),
    **dict.fromkeys(("value", "low", "high"), "float64"),
    "n": WHOLE,
}


def build_floor_table(scores: Sequence[Path], table: Path, *, draws: int, seed: int) -> None:
    """Write floors.csv.

    Args:
        scores: score files of the forms speech, silence and other, of any models, checkpoints and subsets.
        draws, seed: of the bootstrap.

    Raises:
        ArtifactError: a form is missing, or forms of a subset have different questions.
    """
    index, resampler = read_scores(scores), Resampler(draws, seed)
    rows = [
        {"model": model, "checkpoint": checkpoint, "step": checkpoint_step(checkpoint), "subset": subset} | row
        for (model, checkpoint), subsets in sorted(index.items())
        for subset, forms in sorted(subsets.items())
        for row in subset_rows(f"{model}/{checkpoint}/{subset}", subset, forms, resampler)
    ]
    write_columns(Path(table), pd.DataFrame(rows, columns=list(FLOOR_COLUMNS)), FLOOR_COLUMNS)
    for row in rows:
        if row["measure"] == "score" and row["form"] == "above_silence" and not row["low"] > 0:
            logger.info("%(model)s on %(subset)s: not above silence", row)


def subset_rows(
    name: str, subset: str, forms: Mapping[str, FormScores], resampler: Resampler
) -> Iterator[dict[str, Any]]:
    """Rows of one subset: every measure that speech and both floors have."""
    if missing := [form for form in ("speech", *FLOORS) if form not in forms]:
        raise ArtifactError(f"{name}: no scores of {', '.join(missing)}; answer the floors first")
    forms = {form: forms[form] for form in ("speech", *FLOORS)}
    n = len(forms["speech"].ids)
    means = {
        form: Resampled(one.mean, resampler.aggregates(subset, one.sums), (one.low, one.high), one.scores)
        for form, one in forms.items()
    }
    yield from _rows("score", means, n)
    for form, one in forms.items():
        yield {"form": form, "measure": "unparsed", "value": one.unparsed, "n": n}
    for measure in forms["speech"].measures:
        if not all(measure in one.measures for one in forms.values()):
            continue
        having = np.all([~np.isnan(one.measures[measure]) for one in forms.values()], axis=0)
        if not (place := np.flatnonzero(having)).size:
            continue
        found = {}
        for form, one in forms.items():
            values = one.measures[measure][place]
            found[form] = Resampled(
                float(values.mean()),
                resampler.ratios(subset, n, place, values, np.ones(len(values))),
                outcomes=values if measure in PROPORTIONS else None,
            )
        yield from _rows(measure, found, len(place))


def _rows(measure: str, found: Mapping[str, Resampled], n: int) -> Iterator[dict[str, Any]]:
    shown = dict(found) | {f"above_{floor}": found["speech"] - found[floor] for floor in FLOORS}
    for form, one in shown.items():
        low, high = one.interval
        yield {"form": form, "measure": measure, "value": one.value, "low": low, "high": high, "n": n}


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: build_floor_table(
            [Path(path) for path in s.input.scores], s.output.table, draws=s.params.draws, seed=s.params.seed
        ),
    )
