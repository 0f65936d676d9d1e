"""tests.csv: did an edit of the speech vectors change the answers? Paired tests against the unedited answers.

Per model and edit, on the same questions (ours; the paper prints scores before and after): b answers turned right, c
turned wrong, the exact McNemar test of b against c, Holm's correction over all rows of the table, paired bootstrap
intervals of the change of the score and of the reference-answer loss, and a verdict by this rule:

- `underpowered`: b + c < 6. Even if all changed the same way, the exact p would be at least 2 / 2^5 = .0625.
- `helps` or `hurts`: p_holm < .05, by the sign of b - c.
- `no evidence`: otherwise.

An angle edit writes directions of the written question into the prompt: `helps` alone is no evidence about alignment.
"""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.artifacts.answers import EDITED_ANSWERS, AnswerRecord
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.questions import QUESTIONS, Question
from workflow_scripts.artifacts.tables import write_table
from workflow_scripts.scoring.registry import score_answer
from workflow_scripts.statistics.bootstrap import paired_bootstrap
from workflow_scripts.statistics.paired_tests import holm, mcnemar

logger = logging.getLogger(__name__)

BASELINE = "none"
ALPHA = 0.05
FEWEST_CHANGES = 6
"""Fewest discordant answers with which an exact two-sided McNemar test can reach p < .05."""

COLUMNS = (
    *("model", "checkpoint", "subset", "edit", "n", "score", "score_baseline", "b", "c", "net"),
    *("difference", "difference_low", "difference_high", "p", "p_holm"),
    *("nll_per_token", "nll_change", "nll_change_low", "nll_change_high"),
    *("edited_mean", "changed_answers", "verdict"),
)


@dataclass
class EditedModel:
    """Answers of one model and checkpoint: edit -> question id -> answer."""

    subset: str
    path: Path
    answers: dict[str, dict[str, AnswerRecord]] = field(default_factory=lambda: defaultdict(dict))


def compare_edits(
    answers: Sequence[Path],
    questions: Path,
    nltk: Path,
    tests: Path,
    *,
    models: Sequence[str],
    subset: str,
    scorer: str,
    draws: int,
    seed: int,
) -> None:
    """Write tests.csv, one row per model, checkpoint and edit.

    Args:
        answers: edited answers of all models and shards, in any order.
        nltk: asset.json of the tokenizer; `nltk_data/tokenizers/punkt_tab` lies beside it.
        models: order of the rows; every one must have answers.
        draws, seed: of the bootstrap.

    Raises:
        ArtifactError: a model has no answers, an edit lacks questions that the unedited answers have, an answer has no
            question or occurs twice, or a file is of another subset.
    """
    asked = {question.id: question for question in QUESTIONS.read(questions)}
    found = read_edited(answers, subset)
    if missing := sorted(set(models) - {model for model, _ in found}):
        raise ArtifactError(f"no edited answers of model(s) {missing}; run the intervention step for them")
    rows: list[dict[str, Any]] = []
    for model, checkpoint in sorted(found, key=lambda key: (_place(models, key[0]), key)):
        edited = found[model, checkpoint]
        scores = score_edits(edited, asked, questions, scorer, nltk.parent / "nltk_data")
        for edit in sorted(set(edited.answers) - {BASELINE}):
            row = {"model": model, "checkpoint": checkpoint, "subset": subset, "edit": edit}
            rows.append(row | compare_edit(edited.answers, scores, edit, draws, seed))
    for row, p_holm in zip(rows, holm(np.array([row["p"] for row in rows]))):
        row["p_holm"] = float(p_holm)
        row["verdict"] = verdict(row["b"], row["c"], row["p_holm"])
    write_table(tests, rows, COLUMNS)
    logger.info("%d edits of %d model checkpoints tested", len(rows), len(found))


def verdict(b: int, c: int, p_holm: float) -> str:
    """The verdict of the module docstring for b answers turned right, c turned wrong."""
    if b + c < FEWEST_CHANGES:
        return "underpowered"
    if p_holm < ALPHA:
        return "helps" if b > c else "hurts"
    return "no evidence"


def read_edited(paths: Sequence[Path], subset: str) -> dict[tuple[str, str], EditedModel]:
    """Edited answers by (model, checkpoint), shards joined, whatever the order of the files."""
    found: dict[tuple[str, str], EditedModel] = {}
    for path in sorted(paths):
        records, header = EDITED_ANSWERS.read_with_header(path)
        facts = header["provenance"]
        if absent := [name for name in ("model", "checkpoint") if name not in facts]:
            raise ArtifactError(f"{path}: the header's provenance lacks {absent}; delete it and run again")
        one = found.setdefault((facts["model"], facts["checkpoint"]), EditedModel(subset, path))
        for record in records:
            if record.id in one.answers[record.edit]:
                raise ArtifactError(f"{path}: {record.id!r} is answered twice under edit {record.edit!r}")
            one.answers[record.edit][record.id] = record
    for one in found.values():
        if BASELINE not in one.answers:
            raise ArtifactError(f"{one.path}: no unedited answers (edit {BASELINE!r}); nothing to compare with")
        baseline = set(one.answers[BASELINE])
        for edit, records in one.answers.items():
            if odd := sorted(baseline ^ set(records)):
                raise ArtifactError(
                    f"{one.path}: edit {edit!r} and the unedited answers cover different questions, such as {odd[:5]}; "
                    "delete the files and run again"
                )
    return found


def score_edits(
    edited: EditedModel, asked: Mapping[str, Question], questions: Path, scorer: str, nltk_folder: Path
) -> dict[str, np.ndarray]:
    """Scores (n,) in [0, 1] of each edit, questions sorted by id."""
    ids = sorted(edited.answers[BASELINE])
    if unknown := [name for name in ids if name not in asked]:
        raise ArtifactError(f"{questions}: answered question(s) {unknown[:5]} of {edited.path} are missing")
    if wrong := sorted({asked[name].subset for name in ids} - {edited.subset}):
        raise ArtifactError(f"{questions}: holds subset {wrong}, expected {edited.subset!r}")
    scores: dict[str, np.ndarray] = {}
    for edit, records in edited.answers.items():
        values = []
        for name in ids:
            question = asked[name]
            context = {"prompt": question.prompt, "instructions": question.instructions, "nltk_data": nltk_folder}
            answer = records[name].answer
            values.append(score_answer(scorer, answer, question.reference, question.options, context).score)
        scores[edit] = np.array(values)
    return scores


def compare_edit(
    answers: Mapping[str, Mapping[str, AnswerRecord]],
    scores: Mapping[str, np.ndarray],
    edit: str,
    draws: int,
    seed: int,
) -> dict[str, Any]:
    """Columns of one row but p_holm and verdict.

    `score`, `score_baseline` and `difference` are in points of 0 to 100; right means a score of 1. `nll_per_token` is
    that of the edit. `edited_mean` is the mean number of positions replaced.
    """
    ids = sorted(answers[BASELINE])
    before, after = scores[BASELINE], scores[edit]
    changes = mcnemar(before == 1, after == 1)
    difference = paired_bootstrap(100 * after, 100 * before, draws, seed)
    pairs = [(answers[BASELINE][name], answers[edit][name]) for name in ids]
    return {
        "n": len(ids),
        "score": 100 * float(after.mean()),
        "score_baseline": 100 * float(before.mean()),
        "b": changes.b,
        "c": changes.c,
        "net": changes.net,
        "difference": difference.estimate,
        "difference_low": difference.low,
        "difference_high": difference.high,
        "p": changes.p,
        **loss_change(pairs, draws, seed),
        "edited_mean": float(np.mean([after.n_edited for _, after in pairs])),
        "changed_answers": sum(before.token_ids != after.token_ids for before, after in pairs),
    }


def loss_change(pairs: Sequence[tuple[AnswerRecord, AnswerRecord]], draws: int, seed: int) -> dict[str, float]:
    """Loss of the edit and its change, nats per token of the reference answers, pooled over questions that have one.

    The change R = sum d_i / sum t_i (d_i nats, t_i tokens) is a ratio of sums. Its interval resamples the linearised
    values (d_i - R t_i) / mean(t) + R, whose mean is R and whose spread is that of the ratio to first order.
    """
    costed = [
        (before.reference_nll, after.reference_nll, after.reference_tokens)
        for before, after in pairs
        if before.reference_nll is not None and after.reference_nll is not None and after.reference_tokens
    ]
    if not costed:
        return {}
    before, after, tokens = np.array(costed, dtype=np.float64).T
    change = (after - before).sum() / tokens.sum()
    values = (after - before - change * tokens) / tokens.mean() + change
    found = paired_bootstrap(values, np.zeros_like(values), draws, seed)
    return {
        "nll_per_token": float(after.sum() / tokens.sum()),
        "nll_change": float(change),
        "nll_change_low": found.low,
        "nll_change_high": found.high,
    }


def _place(models: Sequence[str], model: str) -> int:
    return list(models).index(model) if model in models else len(models)


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: compare_edits(
            [Path(path) for path in s.input.answers],
            Path(s.input.questions),
            Path(s.input.nltk),
            Path(s.output.tests),
            **{name: s.params[name] for name in ("models", "subset", "scorer", "draws", "seed")},
        ),
    )
