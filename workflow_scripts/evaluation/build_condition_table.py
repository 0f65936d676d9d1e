"""conditions.csv: the gap of the same questions under several conditions: voices, regions, noise, a telephone line.

Subsets of the same raw rows in different voices are conditions of one another; the first is the reference. Per
condition: `text`, `speech`, `gap`, text - speech, and `drop`, reference speech - speech, on the prompts that all kept.
Row `all` is the mean over conditions, with an interval for questions and conditions as crossed random effects, so that
it speaks of other voices as well as of other questions (`means.crossed_interval`). With few conditions it is wide.
Intervals of single conditions are those of gap.csv.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workflow_scripts.artifacts.checkpoints import checkpoint_step
from workflow_scripts.artifacts.questions import QUESTIONS
from workflow_scripts.artifacts.tables import TEXT, WHOLE, write_columns
from workflow_scripts.evaluation.score_index import FormScores, read_scores
from workflow_scripts.statistics.means import Mean, crossed_interval, of_scores

ALL = "all"
CONDITION_COLUMNS = {
    **dict.fromkeys(("model", "checkpoint"), TEXT),
    "step": WHOLE,
    **dict.fromkeys(("subset", "condition", "voice", "form", "measure"), TEXT),
    **dict.fromkeys(("value", "low", "high"), "float64"),
    "n": WHOLE,
}


def build_condition_table(
    questions: Mapping[str, Path],
    scores: Sequence[Path],
    table: Path,
    *,
    conditions: Mapping[str, Sequence[str]],
    voices: Mapping[str, str],
) -> None:
    """Write conditions.csv; without subsets of the same rows it has no rows.

    Args:
        questions: questions.jsonl by subset. scores: score files of any models and checkpoints.
        conditions: by reference subset, all subsets of its rows, the reference first.
        voices: voice by subset.
    """
    prompts = {
        subset: {question.id: question.prompt for question in QUESTIONS.read(Path(path))}
        for subset, path in questions.items()
    }
    rows = [
        {"model": model, "checkpoint": checkpoint, "step": checkpoint_step(checkpoint), "subset": reference} | row
        for (model, checkpoint), subsets in sorted(read_scores(scores).items())
        for reference, names in sorted(conditions.items())
        if all({"text", "speech"} <= set(subsets.get(name, ())) for name in names)
        for row in condition_rows({name: subsets[name] for name in names}, prompts, voices)
    ]
    write_columns(Path(table), pd.DataFrame(rows, columns=list(CONDITION_COLUMNS)), CONDITION_COLUMNS)


def condition_rows(
    subsets: Mapping[str, Mapping[str, FormScores]],
    prompts: Mapping[str, Mapping[str, str]],
    voices: Mapping[str, str],
) -> Iterator[dict[str, Any]]:
    """Rows of one checkpoint and one group of subsets, the reference first."""
    by_prompt = {
        (name, form): dict(zip([prompts[name][one] for one in forms[form].ids], forms[form].scores))
        for name, forms in subsets.items()
        for form in ("text", "speech")
    }
    shared = sorted(set.intersection(*(set(found) for found in by_prompt.values())))
    if not shared:
        return
    scores = {key: np.array([found[prompt] for prompt in shared]) for key, found in by_prompt.items()}
    reference, n = next(iter(subsets)), len(shared)
    gaps = []
    for name in subsets:
        text, speech = scores[name, "text"], scores[name, "speech"]
        gaps.append(text - speech)
        written, spoken, first = (of_scores(values) for values in (text, speech, scores[reference, "speech"]))
        shown = {"text": written, "speech": spoken, "gap": written - spoken, "drop": first - spoken}
        for form, one in shown.items():
            yield _row(name, voices[name], form, one, n)
    table = np.stack(gaps)  # (conditions, n)
    overall = Mean(float(table.mean()), table.mean(axis=0), own=crossed_interval(table, 100.0))
    yield _row(ALL, "", "gap", overall, n)


def _row(condition: str, voice: str, form: str, one: Mean, n: int) -> dict[str, Any]:
    low, high = one.interval if n > 1 else (np.nan, np.nan)
    row = {"condition": condition, "voice": voice, "form": form, "measure": "score"}
    return row | {"value": one.value, "low": low, "high": high, "n": n}


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: build_condition_table(
            dict(zip(s.params.voices, s.input.questions, strict=True)),
            [Path(path) for path in s.input.scores],
            s.output.table,
            conditions=s.params.conditions,
            voices=s.params.voices,
        ),
    )
