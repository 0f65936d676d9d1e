"""conditions.csv: the gap of the same questions under several conditions: voices, regions, noise, a telephone line.

Subsets of the same raw rows in different voices are conditions of one another; the first is the reference. Per
condition, on the prompts that all kept: `text`, `speech`, `gap`, between them, and `drop`, between speech and that of
the reference; above 0, speech or this condition is worse. Measures: `score`, 0 to 100, and `loss`, nats per token of
the reference answer, which differs where all scores are near 0. Row `all` is the mean gap over conditions, with an
interval for questions and conditions as crossed random effects, so that it speaks of other voices as well as of other
questions (`means.crossed_interval`). With few conditions it is wide. Intervals of single conditions: as in gap.csv.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.artifacts.checkpoints import checkpoint_step
from workflow_scripts.artifacts.questions import QUESTIONS
from workflow_scripts.artifacts.tables import write_table
from workflow_scripts.evaluation.cells import LOSS, SCORE
from workflow_scripts.evaluation.score_index import FormScores, read_scores
from workflow_scripts.statistics.means import Mean, crossed_interval, of_ratios, of_scores

ALL = "all"
POINTS = 100.0


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
    write_table(Path(table), rows, "conditions")


def condition_rows(
    subsets: Mapping[str, Mapping[str, FormScores]],
    prompts: Mapping[str, Mapping[str, str]],
    voices: Mapping[str, str],
) -> Iterator[dict[str, Any]]:
    """Rows of one checkpoint and one group of subsets, the reference first."""
    places = {
        (name, form): {prompts[name][one]: place for place, one in enumerate(forms[form].ids)}
        for name, forms in subsets.items()
        for form in ("text", "speech")
    }
    shared = sorted(set.intersection(*(set(found) for found in places.values())))
    scores = {
        key: (subsets[key[0]][key[1]], np.array([found[prompt] for prompt in shared], dtype=int))
        for key, found in places.items()
    }
    if shared:
        means = {key: of_scores(one.scores[place]) for key, (one, place) in scores.items()}
        yield from _measure_rows(SCORE, means, voices, POINTS)
    costed = np.all([(one.tokens[place] > 0) & ~np.isnan(one.nll[place]) for one, place in scores.values()], axis=0)
    if costed.any():
        costs = {key: (one, place[costed]) for key, (one, place) in scores.items()}
        means = {key: of_ratios([(one.nll[place], one.tokens[place])], None) for key, (one, place) in costs.items()}
        yield from _measure_rows(LOSS, means, voices, None)


def _measure_rows(
    measure: str, means: Mapping[tuple[str, str], Mean], voices: Mapping[str, str], unit: float | None
) -> Iterator[dict[str, Any]]:
    """Rows of one measure from its means by condition and form over the same questions in one order."""
    names = list(dict.fromkeys(name for name, _ in means))

    def worse(one: Mean, than: Mean) -> Mean:
        return one - than if measure == LOSS else than - one

    gaps = {name: worse(means[name, "speech"], means[name, "text"]) for name in names}
    for name in names:
        spoken = means[name, "speech"]
        shown = {"text": means[name, "text"], "speech": spoken, "gap": gaps[name]}
        for form, one in (shown | {"drop": worse(spoken, means[names[0], "speech"])}).items():
            yield _row(name, voices[name], form, measure, one)
    table = np.stack([gap.values for gap in gaps.values()])  # (conditions, n)
    overall = Mean(float(table.mean()), table.mean(axis=0), own=crossed_interval(table, unit))
    yield _row(ALL, "", "gap", measure, overall)


def _row(condition: str, voice: str, form: str, measure: str, one: Mean) -> dict[str, Any]:
    n = len(one.values)
    low, high = one.interval if n > 1 else (np.nan, np.nan)
    row = {"condition": condition, "voice": voice, "form": form, "measure": measure}
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
