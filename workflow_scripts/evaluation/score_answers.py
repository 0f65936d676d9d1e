"""Scores of one model, checkpoint and subset, one scores.json per form, from stored answers; no model is loaded.

Scorers and their aggregates: `scoring.registry`. The reference-answer loss of a form is pooled over questions: nats of
all reference answers over their tokens, questions without one left out. Option probabilities, where the answers have
them, are read by `scoring.option_probabilities`.
"""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.answers import ANSWERS, AnswerRecord
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.provenance import provenance
from workflow_scripts.artifacts.questions import QUESTIONS, Question
from workflow_scripts.artifacts.scores import EstimateRecord, OptionScoreRecord, QuestionScore, ScoreFile
from workflow_scripts.scoring import answer_traits, option_probabilities
from workflow_scripts.scoring.estimates import rate_estimate
from workflow_scripts.scoring.option_probabilities import OptionScore, option_estimates, read_options
from workflow_scripts.scoring.registry import Score, aggregate, find_scorer, score_answer

logger = logging.getLogger(__name__)

JUDGEMENTS = Path("results/evaluation/judgements")
"""The judge's replies, one file each (`scoring.judge_client`)."""


def score_answers(
    questions: Path,
    answers: Sequence[Path],
    nltk: Path,
    scores: Sequence[Path],
    *,
    model: str,
    checkpoint: str,
    subset: str,
    forms: Sequence[str],
    scorer: str,
    judge: Mapping[str, Any] | None = None,
) -> None:
    """Score the answers of all forms and shards.

    Args:
        answers: answers.jsonl files of every form and shard, in any order.
        nltk: asset.json of the tokenizer; `nltk_data/tokenizers/punkt_tab` lies beside it.
        scores: one output per form, in the order of `forms`.
        judge: JudgeSettings as plain values, for the scorer of that name; its replies are kept in `JUDGEMENTS`.

    Raises:
        ArtifactError: a shard, a form or an answer is missing or surplus, or the forms cover different questions; names
            the file and the first ids.
    """
    asked = QUESTIONS.read(questions)
    by_form = join_shards(questions, asked, answers, forms)
    for form, path in zip(forms, scores, strict=True):
        file = score_form(
            asked,
            by_form[form],
            scorer,
            nltk.parent / "nltk_data",
            {"model": model, "checkpoint": checkpoint, "subset": subset, "form": form},
            None if judge is None else {**judge, "cache": JUDGEMENTS},
        )
        file.write(path)
        logger.info("%s: %.2f (n = %d, unparsed %.1f %%)", form, file.mean, file.n, 100 * file.unparsed_rate)


def join_shards(
    questions: Path, asked: Sequence[Question], answers: Sequence[Path], forms: Sequence[str]
) -> dict[str, dict[str, AnswerRecord]]:
    """Answers by form and id, checked against the questions and each other.

    The kept questions are those of questions.jsonl without the ids that the answer files list as dropped.
    """
    found: dict[str, dict[str, AnswerRecord]] = {form: {} for form in forms}
    dropped: dict[str, set[str]] = defaultdict(set)
    files: dict[str, dict[str, Path]] = defaultdict(dict)
    for path in sorted(answers):
        records, header = ANSWERS.read_with_header(path)
        facts = header["provenance"]
        form, shard = facts.get("form"), facts.get("shard")
        if form not in found:
            raise ArtifactError(f"{path}: form {form!r} is none of {list(forms)}; delete it and run again")
        if path.name.partition(".")[0] != form:
            raise ArtifactError(f"{path}: holds answers of form {form!r}; delete it and run again")
        for record in records:
            if record.form != form:
                raise ArtifactError(f"{path}: {record.id!r} has form {record.form!r}, the header says {form!r}")
            if record.id in found[form]:
                raise ArtifactError(f"{path}: {record.id!r} is answered in an earlier shard too; delete old shards")
            found[form][record.id] = record
        dropped[form] |= set(facts.get("dropped", ()))
        files[form][shard] = path
    for form in forms:
        kept = [question.id for question in asked if question.id not in dropped[form]]
        _check(form, files[form], questions, kept, found[form])
        if dropped[form] != dropped[forms[0]]:
            odd = sorted(dropped[form] ^ dropped[forms[0]])[:5]
            raise ArtifactError(
                f"forms {forms[0]} and {form} were asked other questions, such as {odd}; "
                f"delete the files of one of them and run again: {sorted(map(str, files[form].values()))[0]}"
            )
    return found


def score_form(
    asked: Sequence[Question],
    answers: Mapping[str, AnswerRecord],
    scorer: str,
    nltk_folder: Path,
    names: Mapping[str, str],
    judge: Mapping[str, Any] | None = None,
) -> ScoreFile:
    """Scores and aggregate of one form, in the order of the questions.

    Raises:
        ArtifactError: there is no answer, or the scorer cannot use a question; names its id.
    """
    rows: list[tuple[AnswerRecord, Score, OptionScore | None]] = []
    for question in asked:
        if question.id not in answers:
            continue
        context = {"prompt": question.prompt, "instructions": question.instructions, "nltk_data": nltk_folder}
        context |= {"judge": judge}
        record = answers[question.id]
        try:
            score = score_answer(scorer, record.answer, question.reference, question.options, context)
            options = _option_score(record, question)
        except ValueError as error:
            raise ArtifactError(f"question {question.id!r} of {names['subset']}: {error}") from error
        rows.append((record, score, options))
    if not rows:
        raise ArtifactError(f"{names['subset']}: every question was dropped; see the manifest of the speech stage")
    summary = aggregate(scorer, [score for _, score, _ in rows])
    scored = [_question_score(*row) for row in rows]
    estimates = summary.estimates | option_estimates([options for _, _, options in rows if options is not None])
    estimates |= {
        f"answers_{name}": rate_estimate([name in one.traits for one in scored]) for name in answer_traits.NAMES
    }
    return ScoreFile(
        **names,
        scorer=scorer,
        scorer_version=find_scorer(scorer).version,
        n=summary.n,
        mean=summary.mean,
        interval_low=summary.interval_low,
        interval_high=summary.interval_high,
        interval_method=summary.method,
        unparsed_rate=summary.unparsed_rate,
        estimates={name: EstimateRecord(**asdict(estimate)) for name, estimate in estimates.items()},
        nll_per_token=nll_per_token([record for record, _, _ in rows]),
        questions=scored,
        provenance=provenance(
            {"scorer": scorer, "form": names["form"], **({} if judge is None else {"judge": _declared(judge)})},
            option_probabilities=option_probabilities.VERSION,
            answer_traits=answer_traits.VERSION,
        ),
    )


def _declared(judge: Mapping[str, Any]) -> dict[str, Any]:
    """The judge as the config declares it."""
    return {name: value for name, value in judge.items() if name != "cache"}


def nll_per_token(records: Sequence[AnswerRecord]) -> float | None:
    """Nats of the reference answers over their tokens; None if no question has a reference answer."""
    costed = [record for record in records if record.reference_nll is not None and record.reference_tokens]
    if not costed:
        return None
    return sum(record.reference_nll for record in costed) / sum(record.reference_tokens for record in costed)


def _option_score(record: AnswerRecord, question: Question) -> OptionScore | None:
    if record.options is None:
        return None
    return read_options(record.options.letters, record.options.texts, question.options, question.reference[0])


def _question_score(record: AnswerRecord, score: Score, options: OptionScore | None) -> QuestionScore:
    return QuestionScore(
        id=record.id,
        score=score.score,
        parsed=score.parsed,
        outcome=score.outcome,
        rule=score.rule,
        unparsed=score.unparsed,
        details=score.details,
        reference_nll=record.reference_nll,
        reference_tokens=record.reference_tokens,
        options=None if options is None else OptionScoreRecord(**asdict(options)),
        ties=record.ties,
        traits=answer_traits.present(record.answer, record.finish_reason),
    )


def _check(
    form: str, shards: Mapping[str, Path], questions: Path, kept: Sequence[str], found: Mapping[str, Any]
) -> None:
    """Every kept question answered, nothing else answered, and every shard of the split there."""
    if not shards:
        raise ArtifactError(f"no answers of form {form!r} among the inputs; run the answering step for it")
    path = next(iter(shards.values()))
    count = int(str(next(iter(shards))).rpartition("-")[2]) if all(shards) else 0
    if count != len(shards):
        raise ArtifactError(
            f"{path}: shards {sorted(map(str, shards))} are not a complete split; run those that are missing, or "
            "delete old ones"
        )
    if missing := [name for name in kept if name not in found]:
        raise ArtifactError(
            f"{path}: {len(missing)} question(s) of {questions} have no {form} answer, the first are {missing[:5]}; "
            "delete the answers and run again"
        )
    if surplus := sorted(set(found) - set(kept)):
        raise ArtifactError(
            f"{path}: answers to {len(surplus)} question(s) that are not in {questions}, such as {surplus[:5]}; "
            "delete the answers and run again"
        )


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: score_answers(
            Path(s.input.questions),
            [Path(path) for path in s.input.answers],
            Path(s.input.nltk),
            [Path(s.output[form]) for form in s.params.forms],
            **{name: s.params[name] for name in ("model", "checkpoint", "subset", "forms", "scorer", "judge")},
        ),
    )
