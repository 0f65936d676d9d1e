"""What both answering steps share: which questions are asked, answers in batches, and the files they go to.

Forms (DESIGN 2): `text` is the written prompt, `speech` its audio, `asr` the recogniser's transcript as text. All forms
cover the same questions, those whose utterance was kept, so that every comparison between forms is paired.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.answers import ANSWERS, AnswerRecord
from workflow_scripts.artifacts.files import sha256_text
from workflow_scripts.artifacts.kept import ShardQuestions
from workflow_scripts.artifacts.logs import progress
from workflow_scripts.artifacts.provenance import provenance
from workflow_scripts.artifacts.questions import reference_answer
from workflow_scripts.settings.analysis import EvaluationSettings
from workflow_scripts.speech_lm.batching import batches
from workflow_scripts.speech_lm.protocol import Answer, AnswerLoss, Query, SpeechLM

logger = logging.getLogger(__name__)

EMPTY = "empty"
"""Finish reason of a question whose transcript is empty: nothing is asked, the answer is the empty text."""

Encode = Callable[[], Query]


@dataclass(frozen=True)
class Outcome:
    """An answer, and the cost of the reference answer if there is one."""

    answer: Answer
    loss: AnswerLoss | None


def answer_queries(
    model: SpeechLM,
    encoders: Sequence[Encode],
    references: Sequence[Sequence[str]],
    settings: EvaluationSettings,
    max_new_tokens: int,
    what: str,
) -> list[tuple[Answer, list[AnswerLoss]]]:
    """Greedy answers and teacher-forced costs of reference answers, in batches of similar length.

    Queries are encoded twice, once for their length and once in their batch: the inputs of all spoken queries would not
    fit memory at full scale, and encoding costs little beside the language model.

    Args:
        encoders: one function per query that encodes it.
        references: per query, the reference answers whose cost is wanted (none, one or several).
        what: name in the progress log.

    Returns:
        per query, the answer and one cost per reference, in the order given.
    """
    lengths = [encode().length for encode in encoders]
    answers: dict[int, Answer] = {}
    grouped = batches(lengths, settings.batch_size, settings.max_positions)
    for group in progress(grouped, len(grouped), f"{what}: answer batches"):
        queries = [encoders[index]() for index in group]
        answers |= zip(group, model.generate(queries, max_new_tokens=max_new_tokens))
    pairs = [(index, text) for index, texts in enumerate(references) for text in texts]
    costs: dict[int, AnswerLoss] = {}
    with_reference = [lengths[index] + _n_tokens(model, text) for index, text in pairs]
    grouped = batches(with_reference, settings.batch_size, settings.max_positions)
    for group in progress(grouped, len(grouped), f"{what}: reference batches"):
        queries = [encoders[pairs[number][0]]() for number in group]
        costs |= zip(group, model.answer_loss(queries, [pairs[number][1] for number in group]))
    losses: list[list[AnswerLoss]] = [[] for _ in encoders]
    for number, (index, _) in enumerate(pairs):
        losses[index].append(costs[number])
    return [(answers[index], losses[index]) for index in range(len(encoders))]


def answer_texts(
    model: SpeechLM,
    wanted: Sequence[tuple[str, str | None]],
    settings: EvaluationSettings,
    max_new_tokens: int,
) -> dict[tuple[str, str | None], Outcome]:
    """Outcomes of written prompts, each distinct prompt answered once, whatever number of forms or questions share it.

    Args:
        wanted: pairs (prompt, reference answer or None); an empty prompt is refused.

    Returns:
        outcome by pair. Equal prompts have the same answer bit for bit, in whichever form they occur.
    """
    references: dict[str, list[str]] = {}
    for prompt, reference in wanted:
        if not prompt.strip():
            raise ValueError("an empty prompt cannot be asked; record it as empty instead")
        texts = references.setdefault(prompt, [])
        if reference is not None and reference not in texts:
            texts.append(reference)
    prompts = list(references)
    encoders: list[Encode] = [lambda prompt=prompt: model.encode_text(prompt) for prompt in prompts]
    found = answer_queries(
        model, encoders, [references[prompt] for prompt in prompts], settings, max_new_tokens, "written prompts"
    )
    outcomes: dict[tuple[str, str | None], Outcome] = {}
    for prompt, (answer, losses) in zip(prompts, found):
        outcomes[prompt, None] = Outcome(answer, None)
        for reference, loss in zip(references[prompt], losses):
            outcomes[prompt, reference] = Outcome(answer, loss)
    return outcomes


def written_records(
    model: SpeechLM, asked: ShardQuestions, settings: EvaluationSettings, max_new_tokens: int
) -> dict[str, list[AnswerRecord]]:
    """Records of the forms `text` and `asr`, in the order of the kept questions.

    A transcript equal to a prompt takes over its answer. An empty transcript is kept with the empty answer, finish
    reason `empty`, no time and no reference cost: a recogniser that hears nothing is part of the pipeline's score.
    """
    wanted = [(question.prompt, reference_answer(question)) for question, _ in asked.kept]
    heard = [(utterance.transcript or "", reference_answer(question)) for question, utterance in asked.kept]
    outcomes = answer_texts(model, wanted + [pair for pair in heard if pair[0].strip()], settings, max_new_tokens)
    empty = Outcome(Answer("", (), EMPTY, 0.0), None)
    return {
        "text": [record(name, "text", pair[0], outcomes[pair]) for name, pair in zip(asked.ids, wanted)],
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


def _n_tokens(model: SpeechLM, text: str) -> int:
    return len(model.tokenizer(text, add_special_tokens=False)["input_ids"])
