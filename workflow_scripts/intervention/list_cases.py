"""cases.csv: single questions in the layout of the paper's Tables 4 to 7, chosen by rule and not by hand.

gained  the written question is answered rightly, the spoken one wrongly, and under some edit rightly
lost    the spoken question is answered rightly, and under some edit wrongly

The first `n` of each kind by id are listed, for each model; `cases` says how many there are. Swept edits, controls and
ceilings neither make a case nor are listed. A row is a case under one input (text,
speech, each edit); `decided` says whether this edit made it a case.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from workflow_scripts.artifacts.answers import EditedAnswerRecord
from workflow_scripts.artifacts.questions import Question
from workflow_scripts.settings.intervention import BASELINE, TEXT

SPEECH = "speech"


def list_cases(
    answers: Mapping[str, Mapping[str, EditedAnswerRecord]],
    right: Mapping[str, np.ndarray],
    edits: Sequence[str],
    asked: Mapping[str, Question],
    n: int,
) -> Iterator[dict[str, Any]]:
    """Rows of one model; `right` per cell over the ids in order. No written answers: no question is `gained`."""
    ids = sorted(answers[BASELINE])
    spoken = right[BASELINE]
    written = right.get(TEXT, np.zeros(len(ids), dtype=bool))
    by_edit = np.array([right[edit] for edit in edits], dtype=bool).reshape(len(edits), len(ids))
    kinds = {
        "gained": written & ~spoken & by_edit.any(axis=0),
        "lost": spoken & (~by_edit).any(axis=0),
    }
    inputs = [*((TEXT,) if TEXT in answers else ()), BASELINE, *edits]
    for change, chosen in kinds.items():
        for place in np.flatnonzero(chosen)[:n].tolist():
            question = asked[ids[place]]
            for key in inputs:
                outcome = bool(right[key][place])
                yield {
                    "change": change,
                    "cases": int(chosen.sum()),
                    "id": question.id,
                    "question": question.prompt,
                    "reference": " / ".join(question.reference),
                    "input": SPEECH if key == BASELINE else key,
                    "answer": answers[key][question.id].answer,
                    "right": outcome,
                    "decided": key in edits and outcome == (change == "gained"),
                }
