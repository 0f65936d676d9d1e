"""What both answering steps share: which questions are asked, answers in batches, and the files they go to.

Forms: `text` is the written prompt, `speech` its audio, `asr` the recogniser's transcript as text. All forms
cover the same questions, those whose utterance was kept, so that every comparison between forms is paired.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.answers import ANSWERS, AnswerRecord, OptionRecord
from workflow_scripts.artifacts.files import sha256_text
from workflow_scripts.artifacts.kept import ShardQuestions
from workflow_scripts.artifacts.logs import progress
from workflow_scripts.artifacts.provenance import provenance
from workflow_scripts.artifacts.questions import Question
from workflow_scripts.scoring.question_formats import reference_answer
from workflow_scripts.settings.analysis import EvaluationSettings
from workflow_scripts.speech_lm.decoding.batching import batches
from workflow_scripts.speech_lm.protocol import Answer, AnswerLoss, OptionLogProbs, Query, SpeechLM, Wanted

logger = logging.getLogger(__name__)

EMPTY = "empty"
"""Finish reason of a question whose transcript is empty: nothing is asked, the answer is the empty text."""

Encode = Callable[[], Query]


@dataclass(frozen=True)
class Outcome:
    """An answer, the cost of the reference answer and the probabilities of the options, each if wanted."""

    answer: Answer
    loss: AnswerLoss | None
    options: OptionLogProbs | None = None


def wanted_of(question: Question, settings: EvaluationSettings) -> Wanted:
    """The question's reference answer and, for multiple choice, its options."""
    return Wanted(reference_answer(question), tuple(question.options) if settings.option_log_probs else ())


def answer_queries(
    model: SpeechLM,
    encoders: Sequence[Encode],
    wanted: Sequence[Sequence[Wanted]],
    settings: EvaluationSettings,
    max_new_tokens: int,
    what: str,
) -> list[dict[Wanted, Outcome]]:
    """Greedy answers, teacher-forced costs of reference answers and option probabilities, in batches of like length.

    Queries are encoded for their length, which decides their batch. As many as have `max_positions` in all are kept for
    it; later ones are encoded again, as the inputs of all spoken queries would not fit memory at full scale.

    Args:
        encoders: one function per query that encodes it.
        wanted: per query, what is measured beside the answer (several things where questions share a prompt).
        what: name in the progress log.

    Returns:
        per query, the outcome of each thing wanted and that of `Wanted()`, the answer alone.
    """
    weighed = [[one for one in dict.fromkeys(all_) if one != Wanted()] for all_ in wanted]
    kept: dict[int, Query] = {}
    sizes, room = [], settings.max_positions
    for index, (encode, own) in enumerate(zip(encoders, weighed, strict=True)):
        query = encode()
        sizes.append(query.length + sum(_n_tokens(model, one) for one in own))
        room -= query.length
        if room >= 0:
            kept[index] = query
    grouped = batches(sizes, settings.batch_size, settings.max_positions)
    outcomes: dict[int, dict[Wanted, Outcome]] = {}
    for group in progress(grouped, len(grouped), f"{what}: batches"):
        queries = [kept.pop(index) if index in kept else encoders[index]() for index in group]
        own = [weighed[index] for index in group]
        for index, (answer, found) in zip(
            group, model.answer_and_weigh(queries, own, max_new_tokens=max_new_tokens), strict=True
        ):
            outcomes[index] = {Wanted(): Outcome(answer, None)} | {
                one: Outcome(answer, probs.reference, probs if one.options else None)
                for one, probs in zip(weighed[index], found, strict=True)
            }
    return [outcomes[index] for index in range(len(encoders))]


def answer_texts(
    model: SpeechLM,
    wanted: Sequence[tuple[str, Wanted]],
    settings: EvaluationSettings,
    max_new_tokens: int,
) -> dict[tuple[str, Wanted], Outcome]:
    """Outcomes of written prompts, each distinct prompt answered once, whatever number of forms or questions share it.

    Args:
        wanted: pairs (prompt, what is measured beside its answer); an empty prompt is refused.

    Returns:
        outcome by pair. Equal prompts have the same answer bit for bit, in whichever form they occur.
    """
    by_prompt: dict[str, list[Wanted]] = {}
    for prompt, one in wanted:
        if not prompt.strip():
            raise ValueError("an empty prompt cannot be asked; record it as empty instead")
        all_ = by_prompt.setdefault(prompt, [])
        if one not in all_:
            all_.append(one)
    encoders: list[Encode] = [lambda prompt=prompt: model.encode_text(prompt) for prompt in by_prompt]
    found = answer_queries(model, encoders, list(by_prompt.values()), settings, max_new_tokens, "written prompts")
    return {(prompt, one): outcome for prompt, own in zip(by_prompt, found) for one, outcome in own.items()}


def written_records(
    model: SpeechLM, asked: ShardQuestions, settings: EvaluationSettings, max_new_tokens: int
) -> dict[str, list[AnswerRecord]]:
    """Records of the forms `text` and `asr`, in the order of the kept questions.

    A transcript equal to a prompt takes over its answer. An empty transcript is kept with the empty answer, finish
    reason `empty`, no time, no reference cost and no option probabilities: a recogniser that hears nothing is part of
    the pipeline's score.
    """
    shown = [(question.prompt, wanted_of(question, settings)) for question, _ in asked.kept]
    heard = [(utterance.transcript or "", wanted_of(question, settings)) for question, utterance in asked.kept]
    outcomes = answer_texts(model, shown + [pair for pair in heard if pair[0].strip()], settings, max_new_tokens)
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


def _n_tokens(model: SpeechLM, one: Wanted) -> int:
    """Tokens of all texts that are weighed, a letter counted as one; about what their pass costs."""
    texts = [*one.options, one.reference or ""]
    return len(one.options) + sum(len(model.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts)
