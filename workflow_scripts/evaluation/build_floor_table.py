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

from workflow_scripts.artifacts.checkpoints import checkpoint_step
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.tables import write_table
from workflow_scripts.evaluation.score_index import FLOORS, FormScores, measure_mean, read_scores, score_mean
from workflow_scripts.statistics.means import Mean

logger = logging.getLogger(__name__)


def build_floor_table(scores: Sequence[Path], table: Path) -> None:
    """Write floors.csv.

    Args:
        scores: score files of the forms speech, silence and other, of any models, checkpoints and subsets.

    Raises:
        ArtifactError: a form is missing, or forms of a subset have different questions.
    """
    index = read_scores(scores)
    rows = [
        {"model": model, "checkpoint": checkpoint, "step": checkpoint_step(checkpoint), "subset": subset} | row
        for (model, checkpoint), subsets in sorted(index.items())
        for subset, forms in sorted(subsets.items())
        for row in subset_rows(f"{model}/{checkpoint}/{subset}", forms)
    ]
    write_table(Path(table), rows, "floors")
    for row in rows:
        if row["measure"] == "score" and row["form"] == "above_silence" and not row["low"] > 0:
            logger.info("%(model)s on %(subset)s: not above silence", row)


def subset_rows(name: str, forms: Mapping[str, FormScores]) -> Iterator[dict[str, Any]]:
    """Rows of one subset: every measure that speech and both floors have."""
    if missing := [form for form in ("speech", *FLOORS) if form not in forms]:
        raise ArtifactError(f"{name}: no scores of {', '.join(missing)}; answer the floors first")
    forms = {form: forms[form] for form in ("speech", *FLOORS)}
    n = len(forms["speech"].ids)
    yield from _rows("score", {form: score_mean(one) for form, one in forms.items()}, n)
    for form, one in forms.items():
        yield {"form": form, "measure": "unparsed", "value": one.unparsed, "n": n}
    for measure in forms["speech"].measures:
        if not all(measure in one.measures for one in forms.values()):
            continue
        having = np.all([~np.isnan(one.measures[measure]) for one in forms.values()], axis=0)
        if not (place := np.flatnonzero(having)).size:
            continue
        found = {form: measure_mean(one, measure, place) for form, one in forms.items()}
        yield from _rows(measure, found, len(place))


def _rows(measure: str, found: Mapping[str, Mean], n: int) -> Iterator[dict[str, Any]]:
    shown = dict(found) | {f"above_{floor}": found["speech"] - found[floor] for floor in FLOORS}
    for form, one in shown.items():
        low, high = one.interval
        yield {"form": form, "measure": measure, "value": one.value, "low": low, "high": high, "n": n}


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: build_floor_table([Path(path) for path in s.input.scores], s.output.table),
    )
