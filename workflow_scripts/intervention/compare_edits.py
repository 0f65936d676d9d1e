"""tests.csv: did an edit of the speech vectors change the answers, and did it do so more than its controls? (ours)

One row per model, cell of the grid and thing it is compared with (`against`): `none`, the unedited answers; for an
edit also each of its controls. All comparisons are paired, on the same questions: b answers right only under the cell,
c only under what it is compared with, the exact McNemar test of b against c with Bonett and Price's interval of
(b - c) / n, Student's intervals of the changes of the reference's loss and of KL(text || cell) at the first answer
token, and the smallest effect that n questions could have shown. Verdicts: see `verdicts`; Holm's correction
runs over all rows on which a verdict rests, those of edits. cases.csv: see `list_cases`.

A model that cannot be edited has one row, of kind `left out`, whose verdict says why.

score, difference, detectable: percent of questions answered strictly right. kl: nats. layer: empty for edits of every
layer in one pass. shift_mean: length of the change of an edited vector. log_norm_ratio: mean log(||s|| / ||t||) before
the edit. r2_before, r2_after: of erasures, how much of the words' vectors a linear reader of other questions gets out
of the speech vectors, 1 - errors / spread over all questions. unedited, exhausted: questions in which nothing was
edited, or fewer frames than asked for.
"""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.artifacts.answers import EDITED_ANSWERS, EditedAnswerRecord
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.questions import QUESTIONS, Question
from workflow_scripts.artifacts.tables import write_table
from workflow_scripts.intervention.list_cases import list_cases
from workflow_scripts.intervention.verdicts import ALPHA, PairedResult, edit_verdict
from workflow_scripts.scoring.registry import score_answer
from workflow_scripts.settings.intervention import BASELINE, ORACLE, TEXT
from workflow_scripts.statistics.means import of_ratios, student_interval
from workflow_scripts.statistics.paired_tests import holm, mcnemar
from workflow_scripts.statistics.power import fewest_discordant, minimal_detectable_effect

logger = logging.getLogger(__name__)

EDIT, CONTROL, CHECK, CEILING, LEFT_OUT = "edit", "control", "check", "ceiling", "left out"
GRID_FACTS = ("operation", "weight", "selection", "k", "layer", "metric", "path", "control", "of")


@dataclass
class EditedModel:
    """Answers of one model and checkpoint: edit -> question id -> answer; facts and summed counts of each cell.

    left_out: why it was not edited; "" if it was.
    """

    subset: str
    path: Path
    left_out: str = ""
    answers: dict[str, dict[str, EditedAnswerRecord]] = field(default_factory=lambda: defaultdict(dict))
    cells: dict[str, dict[str, Any]] = field(default_factory=dict)
    log_norm_ratios: dict[str, list[tuple[float, int]]] = field(default_factory=lambda: defaultdict(list))

    def kind(self, key: str) -> str:
        """What a cell is in the table."""
        facts = self.cells[key]
        if facts.get("control"):
            return CONTROL
        if facts["operation"] == "no_op":
            return CHECK
        # Text vectors in the place of speech, without controls, show how far any edit could go.
        ceiling = facts["operation"] in (TEXT, ORACLE) or (facts["operation"] == "replace" and not self.controls(key))
        return CEILING if ceiling else EDIT

    def controls(self, key: str) -> list[str]:
        """The controls of an edit."""
        return [name for name, facts in self.cells.items() if facts.get("of") == key]


def compare_edits(
    answers: Sequence[Path],
    questions: Path,
    nltk: Path,
    tests: Path,
    cases: Path,
    *,
    models: Sequence[str],
    subset: str,
    scorer: str,
    n_cases: int,
) -> None:
    """Write tests.csv and cases.csv.

    Args:
        answers: edited answers of all models and shards, in any order.
        nltk: asset.json of the tokenizer; `nltk_data/tokenizers/punkt_tab` lies beside it.
        models: order of the rows; every one must have answers.
        n_cases: cases per model and direction of change.

    Raises:
        ArtifactError: a model has no answers, an edit lacks questions that the unedited answers have, an answer has no
            question or occurs twice, a control lacks its edit, or a file is of another subset.
    """
    asked = {question.id: question for question in QUESTIONS.read(questions)}
    found = read_edited(answers, subset)
    if missing := sorted(set(models) - {model for model, _ in found}):
        raise ArtifactError(f"no edited answers of model(s) {missing}; run the intervention step for them")
    rows: list[dict[str, Any]] = []
    shown: list[dict[str, Any]] = []
    for model, checkpoint in sorted(found, key=lambda key: (_place(models, key[0]), key)):
        edited = found[model, checkpoint]
        named = {"model": model, "checkpoint": checkpoint, "subset": subset}
        if edited.left_out:
            verdict = f"not edited: {edited.left_out}"
            rows.append(named | {"against": BASELINE, "kind": LEFT_OUT, "swept": False, "n": 0, "verdict": verdict})
            continue
        right = right_answers(edited, asked, questions, scorer, nltk.parent / "nltk_data")
        rows += [named | row for row in comparisons(edited, right)]
        edits = [key for key, facts in edited.cells.items() if edited.kind(key) == EDIT and not facts.get("swept")]
        shown += [named | row for row in list_cases(edited.answers, right, edits, asked, n_cases)]
    judge(rows)
    write_table(tests, rows, "tests")
    write_table(cases, shown, "cases")
    logger.info("%d comparisons of %d model checkpoints, %d answers of cases", len(rows), len(found), len(shown))


def comparisons(edited: EditedModel, right: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Rows of one model without p_holm and verdict: each cell against the unedited answers, edits against controls."""
    rows = []
    for key, facts in edited.cells.items():
        kind = edited.kind(key)
        described = {name: facts.get(name) for name in ("name", *GRID_FACTS, "swept")}
        described["layer"] = facts["layer"] if isinstance(facts.get("layer"), int) else None
        others = [BASELINE, *(edited.controls(key) if kind == EDIT else [])]
        for other in others:
            row = {"edit": key, "against": other, "kind": kind} | described
            pairs = [(edited.answers[other][name], one) for name, one in sorted(edited.answers[key].items())]
            rows.append(row | compare(pairs, right[other], right[key]) | _counts(edited, key))
    return rows


def judge(rows: Sequence[dict[str, Any]]) -> None:
    """Add p_holm, over the rows of edits, and a verdict to each edit's comparison with the unedited answers."""
    tested = [row for row in rows if row["kind"] == EDIT]
    for row, p_holm in zip(tested, holm(np.array([row["p"] for row in tested]))):
        row["p_holm"] = float(p_holm)
    fewest = fewest_discordant(ALPHA, max(1, len(tested)))
    by_edit: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in tested:
        by_edit[row["model"], row["checkpoint"], row["edit"]].append(row)
    for own in by_edit.values():
        results = {row["against"]: PairedResult(row["b"], row["c"], row["p_holm"]) for row in own}
        baseline = results.pop(BASELINE)
        own[0]["verdict"] = edit_verdict(baseline, list(results.values()), fewest)


def read_edited(paths: Sequence[Path], subset: str) -> dict[tuple[str, str], EditedModel]:
    """Edited answers by (model, checkpoint), shards joined, whatever the order of the files."""
    found: dict[tuple[str, str], EditedModel] = {}
    for path in sorted(paths):
        records, header = EDITED_ANSWERS.read_with_header(path)
        facts = header["provenance"]
        if absent := [name for name in ("model", "checkpoint") if name not in facts]:
            raise ArtifactError(f"{path}: the header's provenance lacks {absent}; delete it and run again")
        one = found.setdefault((facts["model"], facts["checkpoint"]), EditedModel(subset, path))
        one.left_out = facts.get("left_out", "")
        _take_cells(one, path, facts.get("cells", {}))
        for record in records:
            if record.id in one.answers[record.edit]:
                raise ArtifactError(f"{path}: {record.id!r} is answered twice under edit {record.edit!r}")
            one.answers[record.edit][record.id] = record
    for one in (one for one in found.values() if not one.left_out):
        if BASELINE not in one.answers:
            raise ArtifactError(f"{one.path}: no unedited answers (edit {BASELINE!r}); nothing to compare with")
        baseline = set(one.answers[BASELINE])
        for edit, records in one.answers.items():
            if odd := sorted(baseline ^ set(records)):
                raise ArtifactError(
                    f"{one.path}: edit {edit!r} and the unedited answers cover different questions, such as {odd[:5]}; "
                    "delete the files and run again"
                )
        if unknown := sorted(set(one.answers) - {BASELINE, *one.cells}):
            raise ArtifactError(
                f"{one.path}: the header does not describe the cell(s) {unknown}; delete it and run again"
            )
        for key, facts in one.cells.items():
            if facts.get("of") is not None and facts["of"] not in one.cells:
                raise ArtifactError(f"{one.path}: {key!r} is a control of {facts['of']!r}, which has no answers")
    return found


def _take_cells(one: EditedModel, path: Path, cells: Mapping[str, Mapping[str, Any]]) -> None:
    """Add the counts of a shard to those of the model."""
    for key, facts in ({TEXT: {"name": TEXT, "operation": TEXT}} | dict(cells)).items():
        own = one.cells.setdefault(key, {**facts, "unedited": 0, "exhausted": 0})
        if any(own.get(name) != facts.get(name) for name in GRID_FACTS):
            raise ArtifactError(
                f"{path}: cell {key!r} is another one than in the other shards; delete them and run again"
            )
        own["unedited"] += sum(facts.get("unedited", {}).values())
        own["exhausted"] += facts.get("exhausted", 0)
        if facts.get("edited"):
            one.log_norm_ratios[key].append((facts["mean_log_norm_ratio"], facts["edited"]))


def _counts(edited: EditedModel, key: str) -> dict[str, Any]:
    """What was edited, over all questions."""
    records = list(edited.answers[key].values())
    shifts = [shift for record in records for shift in record.shifts]
    ratios = edited.log_norm_ratios[key]
    total = sum(n for _, n in ratios)
    return {
        "edited_mean": float(np.mean([record.n_edited for record in records])),
        "shift_mean": float(np.mean(shifts)) if shifts else None,
        "log_norm_ratio": sum(mean * n for mean, n in ratios) / total if total else None,
        **readings(records),
        "unedited": edited.cells[key]["unedited"],
        "exhausted": edited.cells[key]["exhausted"],
    }


def readings(records: Sequence[EditedAnswerRecord]) -> dict[str, float]:
    """R2 of reading the words from speech vectors before and after they were erased, with intervals over questions."""
    known = [
        (one.words_spread, one.words_error_before, one.words_error_after)
        for one in records
        if None not in (one.words_spread, one.words_error_before, one.words_error_after)
    ]
    if not known:
        return {}
    spread, before, after = np.array(known, dtype=np.float64).T
    found = {}
    for name, errors in (("r2_before", before), ("r2_after", after)):
        missed = of_ratios([(errors, spread)], None)
        low, high = missed.interval
        found |= {name: 1 - missed.value, f"{name}_low": 1 - high, f"{name}_high": 1 - low}
    return found


def right_answers(
    edited: EditedModel, asked: Mapping[str, Question], questions: Path, scorer: str, nltk_folder: Path
) -> dict[str, np.ndarray]:
    """Whether each answer is strictly right (full score), (n,) booleans per edit, questions sorted by id."""
    ids = sorted(edited.answers[BASELINE])
    if unknown := [name for name in ids if name not in asked]:
        raise ArtifactError(f"{questions}: answered question(s) {unknown[:5]} of {edited.path} are missing")
    if wrong := sorted({asked[name].subset for name in ids} - {edited.subset}):
        raise ArtifactError(f"{questions}: holds subset {wrong}, expected {edited.subset!r}")
    right: dict[str, np.ndarray] = {}
    for edit, records in edited.answers.items():
        values = []
        for name in ids:
            question = asked[name]
            context = {"prompt": question.prompt, "instructions": question.instructions, "nltk_data": nltk_folder}
            answer = records[name].answer
            values.append(score_answer(scorer, answer, question.reference, question.options, context).score == 1)
        right[edit] = np.array(values)
    return right


def compare(
    pairs: Sequence[tuple[EditedAnswerRecord, EditedAnswerRecord]],
    before: np.ndarray,
    after: np.ndarray,
) -> dict[str, Any]:
    """Columns of a paired comparison: (compared with, cell) records and whether they are right, same order."""
    changes = mcnemar(before, after)
    detectable = minimal_detectable_effect(len(pairs), min(changes.b, changes.c) / len(pairs))
    return {
        "n": len(pairs),
        "score": 100 * float(after.mean()),
        "score_against": 100 * float(before.mean()),
        "b": changes.b,
        "c": changes.c,
        "net": changes.net,
        "difference": 100 * changes.difference,
        "difference_low": 100 * changes.low,
        "difference_high": 100 * changes.high,
        "p": changes.p,
        "detectable": None if detectable is None else 100 * detectable,
        **loss_change(pairs),
        **kl_change(pairs),
        "changed_answers": sum(one.token_ids != other.token_ids for one, other in pairs),
    }


def kl_change(pairs: Sequence[tuple[EditedAnswerRecord, EditedAnswerRecord]]) -> dict[str, float]:
    """Mean KL to the text's first answer distribution under the cell, and its change with a paired interval."""
    known = [(one.kl_first, other.kl_first) for one, other in pairs if None not in (one.kl_first, other.kl_first)]
    if not known:
        return {}
    before, after = np.array(known, dtype=np.float64).T
    low, high = student_interval(after - before)
    return {
        "kl_first": float(after.mean()),
        "kl_change": float((after - before).mean()),
        "kl_change_low": low,
        "kl_change_high": high,
    }


def loss_change(pairs: Sequence[tuple[EditedAnswerRecord, EditedAnswerRecord]]) -> dict[str, float]:
    """Loss of the edit and its change, nats per token of the reference answers, pooled over questions that have one.

    The change is a ratio of sums, nats by tokens (`means.of_ratios`).
    """
    costed = [
        (before.reference_nll, after.reference_nll, after.reference_tokens)
        for before, after in pairs
        if before.reference_nll is not None and after.reference_nll is not None and after.reference_tokens
    ]
    if not costed:
        return {}
    before, after, tokens = np.array(costed, dtype=np.float64).T
    change = of_ratios([(after - before, tokens)], None)
    low, high = change.interval
    return {
        "nll_per_token": float(after.sum() / tokens.sum()),
        "nll_change": change.value,
        "nll_change_low": low,
        "nll_change_high": high,
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
            Path(s.output.cases),
            **{name: s.params[name] for name in ("models", "subset", "scorer", "n_cases")},
        ),
    )
