"""skills.csv: scores and gap by skill, where questions name one (the domains of mmsu, the tasks of bbh, your own).

A subset's score stays what it is, pooled over its questions (gap.csv). Forms: text, speech, asr, and gap, text - speech
on the same questions. Intervals: as in gap.csv.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workflow_scripts.artifacts.answers import FORMS
from workflow_scripts.artifacts.checkpoints import checkpoint_step
from workflow_scripts.artifacts.questions import Question, by_subset
from workflow_scripts.artifacts.tables import TEXT, WHOLE, write_columns
from workflow_scripts.evaluation.score_index import FormScores, read_scores
from workflow_scripts.statistics.means import of_scores

GAP = "gap"
SKILL_COLUMNS = {
    **dict.fromkeys(("model", "checkpoint"), TEXT),
    "step": WHOLE,
    **dict.fromkeys(("subset", "skill", "form", "measure"), TEXT),
    **dict.fromkeys(("value", "low", "high"), "float64"),
    "n": WHOLE,
}


def build_skill_table(questions: Sequence[Path], scores: Sequence[Path], table: Path) -> None:
    """Write skills.csv; without a skill anywhere it has no rows.

    Args:
        questions: questions.jsonl of every subset. scores: score files of any models, checkpoints, subsets and forms.
    """
    asked = by_subset(questions)
    rows = [
        {"model": model, "checkpoint": checkpoint, "step": checkpoint_step(checkpoint), "subset": subset} | row
        for (model, checkpoint), subsets in sorted(read_scores(scores).items())
        for subset, forms in sorted(subsets.items())
        for row in skill_rows(forms, asked[subset])
    ]
    write_columns(Path(table), pd.DataFrame(rows, columns=list(SKILL_COLUMNS)), SKILL_COLUMNS)


def skill_rows(forms: Mapping[str, FormScores], asked: Mapping[str, Question]) -> Iterator[dict[str, Any]]:
    """Rows of one subset: its skills in order of name, nothing if it has fewer than two."""
    ids = next(iter(forms.values())).ids
    named = np.array([str(asked[name].source.get("skill") or "") if name in asked else "" for name in ids])
    if len(set(named) - {""}) < 2:
        return
    for skill in sorted(set(named) - {""}):
        place = np.flatnonzero(named == skill)
        found = {form: of_scores(forms[form].scores[place]) for form in FORMS if form in forms}
        if "text" in found and "speech" in found:
            found[GAP] = found["text"] - found["speech"]
        for form, one in found.items():
            low, high = one.interval
            row = {"skill": skill, "form": form, "measure": "score", "value": one.value, "low": low, "high": high}
            yield row | {"n": len(place)}


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: build_skill_table(s.input.questions, [Path(path) for path in s.input.scores], s.output.table),
    )
