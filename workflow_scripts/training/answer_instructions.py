"""The answers an LSLM is trained to give: those that come with the data, else the untuned backbone's own.

Training on the backbone's own greedy answers to the written prompts keeps what it says in text unchanged, so that the
gap is about the input and not about a new answering style. Prompts that have a reference answer (sentences to repeat,
and sources with a `response`) are answered with it.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from workflow_scripts.artifacts.answers import ANSWERS, AnswerRecord
from workflow_scripts.artifacts.files import ArtifactError, sha256_text
from workflow_scripts.artifacts.logs import progress
from workflow_scripts.artifacts.partial import PartialBatches
from workflow_scripts.artifacts.provenance import provenance, settings_hash
from workflow_scripts.artifacts.questions import QUESTIONS, Question
from workflow_scripts.scoring.question_formats import reference_answer
from workflow_scripts.speech_lm.decoding.batching import batches
from workflow_scripts.speech_lm.families.composite import load_composite
from workflow_scripts.speech_lm.protocol import SpeechLM

logger = logging.getLogger(__name__)
MAX_POSITIONS = 8192
"""Rows times longest prompt of a batch; only unusually long prompts reach it."""


def answer_instructions(
    questions: Path,
    backbone: Path,
    output: Path,
    *,
    max_new_tokens: int,
    batch_size: int,
    system_prompt: str | None,
) -> None:
    """Answer every prompt of `questions` and write answers.jsonl in the order of the questions.

    Args:
        backbone: folder of the language model (transformers, safetensors).
        max_new_tokens: longest generated answer, in tokens.
        batch_size: prompts decoded together; prompts of like length share a batch.
        system_prompt: None for the chat template's own.

    A killed run goes on where it stopped: finished batches lie in a partial file beside `output`. Batches depend on
    the prompts only, so the answers are the same as those of an uninterrupted run.

    The model is loaded only if there is something for it to answer.
    """
    prompts = QUESTIONS.read(questions)
    open_questions = [question for question in prompts if reference_answer(question) is None]
    settings = {"max_new_tokens": max_new_tokens, "batch_size": batch_size, "system_prompt": system_prompt}
    fingerprint = settings_hash(
        settings | {"prompts": [question.model_dump() for question in prompts], "backbone": str(backbone)}
    )
    partial = PartialBatches(output, fingerprint)
    answers: dict[str, AnswerRecord] = {}
    facts: dict[str, Any] = {"backbone": backbone.name, "generated": len(open_questions)}
    if open_questions:
        model = load_composite(backbone=backbone, checkpoint=None, encoder=None, system_prompt=system_prompt)
        generated = generate_answers(
            model, open_questions, partial, max_new_tokens=max_new_tokens, batch_size=batch_size
        )
        answers = {answer.id: answer for answer in generated}
        facts["dtype"] = str(model.dtype)
    tokenizer = AutoTokenizer.from_pretrained(backbone, local_files_only=True, trust_remote_code=False)
    records = [answers.get(question.id) or given_answer(tokenizer, question) for question in prompts]
    n_ended = sum(record.finish_reason == "stop" for record in records)
    logger.info("%d answers, %d of them the backbone's, %d ended by themselves", len(records), len(answers), n_ended)
    ANSWERS.write(output, records, provenance(settings, **facts))
    partial.remove()


def generate_answers(
    model: SpeechLM,
    questions: Sequence[Question],
    partial: PartialBatches,
    *,
    max_new_tokens: int,
    batch_size: int,
) -> list[AnswerRecord]:
    """Greedy answers to written prompts; batches found in `partial` are not computed again, new ones are added."""
    queries = [model.encode_text(question.prompt) for question in questions]
    groups = batches([query.length for query in queries], batch_size, MAX_POSITIONS)
    records: list[AnswerRecord] = []
    for number, group in enumerate(progress(groups, len(groups), "batches of prompts answered", every_seconds=30)):
        if (kept := partial.get(str(number))) is None:
            answers = model.generate([queries[index] for index in group], max_new_tokens=max_new_tokens)
            found = [
                AnswerRecord(
                    id=questions[index].id,
                    form="text",
                    prompt_hash=prompt_hash(questions[index]),
                    answer=answer.text,
                    token_ids=list(answer.token_ids),
                    finish_reason=answer.finish_reason,
                    seconds=answer.seconds,
                )
                for index, answer in zip(group, answers, strict=True)
            ]
            partial.add(str(number), [record.model_dump() for record in found])
        else:
            found = [AnswerRecord(**record) for record in kept]
        records.extend(found)
    return records


def given_answer(tokenizer: Any, question: Question) -> AnswerRecord:
    """The answer that comes with a prompt, as one that ends by itself.

    Raises:
        ArtifactError: the question has none.
    """
    answer = reference_answer(question)
    if answer is None:
        raise ArtifactError(f"question {question.id!r} has no reference answer; build the training prompts again")
    return AnswerRecord(
        id=question.id,
        form="text",
        prompt_hash=prompt_hash(question),
        answer=answer,
        token_ids=list(tokenizer(answer, add_special_tokens=False)["input_ids"]),
        finish_reason="stop",
        seconds=0.0,
    )


def prompt_hash(question: Question) -> str:
    """First 16 hex digits of the SHA-256 of the prompt."""
    return sha256_text(question.prompt)[:16]


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: answer_instructions(
            Path(s.input.questions),
            Path(s.input.backbone).parent,
            Path(s.output.answers),
            max_new_tokens=s.params.max_new_tokens,
            batch_size=s.params.batch_size,
            system_prompt=s.params.system_prompt,
        ),
    )
