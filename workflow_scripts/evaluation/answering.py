"""What both answering steps share: which questions are asked, answers in batches, and the files they go to.

Forms: `text` is the written prompt, `speech` its audio, `asr` the recogniser's transcript as text. All forms
cover the same questions, those whose utterance was kept, so that every comparison between forms is paired.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from workflow_scripts.artifacts.answers import ANSWERS, AnswerRecord, OptionRecord
from workflow_scripts.artifacts.files import sha256_text
from workflow_scripts.artifacts.kept import ShardQuestions
from workflow_scripts.artifacts.logs import progress
from workflow_scripts.artifacts.partial import PartialBatches
from workflow_scripts.artifacts.provenance import provenance
from workflow_scripts.artifacts.questions import Question
from workflow_scripts.scoring.question_formats import reference_answer
from workflow_scripts.settings.analysis import EvaluationSettings
from workflow_scripts.speech_lm.decoding.batching import batches
from workflow_scripts.speech_lm.protocol import Answer, AnswerLoss, OptionLogProbs, Query, ScoringRequest, SpeechLM

logger = logging.getLogger(__name__)

EMPTY = "empty"
"""Finish reason of a question whose transcript is empty: nothing is asked, the answer is the empty text."""

Encode = Callable[[], Query]
FOUND = TypeAdapter(list[tuple[Answer, list[OptionLogProbs]]])
"""What a batch gives, as it is kept for a job that is killed."""


@dataclass(frozen=True)
class Outcome:
    """An answer, the cost of the reference answer and the probabilities of the options, each if asked for."""

    answer: Answer
    loss: AnswerLoss | None
    options: OptionLogProbs | None = None


def scoring_request(question: Question, settings: EvaluationSettings) -> ScoringRequest:
    """The question's reference answer and, for multiple choice, its options."""
    return ScoringRequest(reference_answer(question), tuple(question.options) if settings.option_log_probs else ())


def answer_queries(
    model: SpeechLM,
    encoders: Sequence[Encode],
    requests: Sequence[Sequence[ScoringRequest]],
    settings: EvaluationSettings,
    max_new_tokens: int,
    what: str,
    partial: PartialBatches | None = None,
) -> list[dict[ScoringRequest, Outcome]]:
    """Greedy answers, teacher-forced costs of reference answers and option probabilities, in batches of like length.

    Queries are encoded for their length, which decides their batch. As many as have `max_positions` in all are kept for
    it; later ones are encoded again, as the inputs of all spoken queries would not fit memory at full scale.

    Args:
        encoders: one function per query that encodes it.
        requests: per query, what is scored beside the answer (several where questions share a prompt).
        what: name in the progress log.
        partial: finished batches of an earlier run of the same job, which are not computed again; batches depend on the
            queries only, so the answers are those of an uninterrupted run.

    Returns:
        per query, the outcome of each request and that of `ScoringRequest()`, the answer alone.
    """
    scored = [[request for request in dict.fromkeys(row) if request != ScoringRequest()] for row in requests]
    kept: dict[int, Query] = {}
    sizes, room = [], settings.max_positions
    for index, (encode, row) in enumerate(zip(encoders, scored, strict=True)):
        query = encode()
        sizes.append(query.length + sum(_n_tokens(model, request) for request in row))
        room -= query.length
        if room >= 0:
            kept[index] = query
    grouped = batches(sizes, settings.batch_size, settings.max_positions)
    outcomes: dict[int, dict[ScoringRequest, Outcome]] = {}
    for number, group in enumerate(progress(grouped, len(grouped), f"{what}: batches")):
        key = f"{what} {number}, {model.dtype} on {model.device.type}"
        earlier = None if partial is None else partial.get(key)
        if earlier is not None:
            found = FOUND.validate_python(earlier)
        else:
            queries = [kept.pop(index) if index in kept else encoders[index]() for index in group]
            asked = [scored[index] for index in group]
            found = model.generate_and_score(queries, asked, max_new_tokens=max_new_tokens)
            if partial is not None:
                partial.add(key, FOUND.dump_python(found))
        for index, (answer, scores) in zip(group, found, strict=True):
            outcomes[index] = {ScoringRequest(): Outcome(answer, None)} | {
                request: Outcome(answer, score.reference, score if request.options else None)
                for request, score in zip(scored[index], scores, strict=True)
            }
    ties = [outcome[ScoringRequest()].answer.ties for outcome in outcomes.values()]
    if None not in ties:
        logger.info("%s: %d tokens were chosen among equally likely ones", what, sum(ties))
    return [outcomes[index] for index in range(len(encoders))]


def answer_texts(
    model: SpeechLM,
    requests: Sequence[tuple[str, ScoringRequest]],
    settings: EvaluationSettings,
    max_new_tokens: int,
    partial: PartialBatches | None = None,
) -> dict[tuple[str, ScoringRequest], Outcome]:
    """Outcomes of written prompts, each distinct prompt answered once, whatever number of forms or questions share it.

    Args:
        requests: pairs (prompt, what is scored beside its answer); an empty prompt is refused.

    Returns:
        outcome by pair. Equal prompts have the same answer bit for bit, in whichever form they occur.
    """
    by_prompt: dict[str, list[ScoringRequest]] = {}
    for prompt, request in requests:
        if not prompt.strip():
            raise ValueError("an empty prompt cannot be asked; record it as empty instead")
        row = by_prompt.setdefault(prompt, [])
        if request not in row:
            row.append(request)
    encoders: list[Encode] = [lambda prompt=prompt: model.encode_text(prompt) for prompt in by_prompt]
    asked = list(by_prompt.values())
    found = answer_queries(model, encoders, asked, settings, max_new_tokens, "written prompts", partial)
    return {(prompt, request): outcome for prompt, row in zip(by_prompt, found) for request, outcome in row.items()}


def written_records(
    model: SpeechLM,
    asked: ShardQuestions,
    settings: EvaluationSettings,
    max_new_tokens: int,
    partial: PartialBatches,
) -> dict[str, list[AnswerRecord]]:
    """Records of the forms `text` and `asr`, in the order of the kept questions.

    A transcript equal to a prompt takes over its answer. An empty transcript is kept with the empty answer, finish
    reason `empty`, no time, no reference cost and no option probabilities: a recogniser that hears nothing is part of
    the pipeline's score.
    """
    shown = [(question.prompt, scoring_request(question, settings)) for question, _ in asked.kept]
    heard = [(utterance.transcript or "", scoring_request(question, settings)) for question, utterance in asked.kept]
    pairs = shown + [pair for pair in heard if pair[0].strip()]
    outcomes = answer_texts(model, pairs, settings, max_new_tokens, partial)
    empty = Outcome(Answer("", (), EMPTY, 0.0), None)
    return {
        "text": [record(name, "text", pair[0], outcomes[pair]) for name, pair in zip(asked.ids, shown)],
        "asr": [
            record(name, "asr", pair[0], outcomes[pair] if pair[0].strip() else empty)
            for name, pair in zip(asked.ids, heard)
        ],
    }


def record(name: str, form: str, carried: str, outcome: Outcome) -> AnswerRecord:
    """One line of answers.jsonl; `carried` is the text that the form carries."""
    return AnswerRecord(
        id=name,
        form=form,
        prompt_hash=sha256_text(carried)[:16],
        answer=outcome.answer.text,
        token_ids=list(outcome.answer.token_ids),
        finish_reason=outcome.answer.finish_reason,
        seconds=outcome.answer.seconds,
        ties=outcome.answer.ties,
        reference_nll=None if outcome.loss is None else outcome.loss.nll,
        reference_tokens=0 if outcome.loss is None else outcome.loss.n_tokens,
        options=None if outcome.options is None else _option_record(outcome.options),
    )


def write_answers(
    outputs: Mapping[str, Path],
    records: Mapping[str, list[AnswerRecord]],
    asked: ShardQuestions,
    settings: Mapping[str, Any],
    **facts: Any,
) -> None:
    """Write one file per form.

    The header's provenance holds `settings`, `facts`, the form and the ids of dropped questions, so that scoring can
    tell a dropped question from a missing one.
    """
    for form, path in outputs.items():
        ANSWERS.write(path, records[form], provenance(settings, **facts, form=form, dropped=asked.dropped))
        lengths = sum(row.finish_reason == "length" for row in records[form])
        logger.info("%s: %d answers, %d cut at the longest length", form, len(records[form]), lengths)


def _option_record(found: OptionLogProbs) -> OptionRecord:
    return OptionRecord(letters=found.letters, texts=found.texts, text_tokens=found.text_tokens)


def _n_tokens(model: SpeechLM, request: ScoringRequest) -> int:
    """Tokens of all texts that are scored, a letter counted as one; about what their pass costs."""
    texts = [*request.options, request.reference or ""]
    lengths = [len(model.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
    return len(request.options) + sum(lengths)
