"""Answers of one checkpoint to the kept questions of one shard, in the forms text, speech and asr.

Decoding is greedy. The loss of the reference answer (`scoring.question_formats`), where the question has one, is
teacher-forced, in nats, and so are the options of a multiple-choice question (ln p of each letter and each text as the
beginning of the answer). Outputs: one answers.jsonl per form, all with the same ids.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.kept import ShardQuestions, check_ids, read_shard
from workflow_scripts.artifacts.partial import PartialBatches
from workflow_scripts.evaluation.answering import (
    Encode,
    Outcome,
    answer_queries,
    record,
    scoring_request,
    write_answers,
    written_records,
)
from workflow_scripts.settings.analysis import EvaluationSettings
from workflow_scripts.speech_lm.opening.open_model import ModelSource, open_model, optional_path
from workflow_scripts.speech_lm.protocol import SpeechLM
from workflow_scripts.speech_lm.shard_queries import SpeechSource, open_speech

INPUTS = ("questions", "manifest", "features")


def answer_questions(
    questions: Path,
    manifest: Path,
    features: Path | None,
    model: ModelSource,
    text: Path | None,
    speech: Path,
    asr: Path | None,
    partial: PartialBatches,
    *,
    shard: str,
    max_new_tokens: int,
    evaluation: Mapping[str, Any],
    seed: int,
) -> None:
    """Ask one checkpoint every kept question of a shard in every form.

    Args:
        text, speech, asr: the outputs, one per form; without `text` and `asr` only the spoken form is asked.
        partial: finished batches of an earlier, killed run.
        seed: of the split into shards; decoding draws nothing.

    Raises:
        ArtifactError: the inputs do not hold the same questions (checked before the model is loaded).
    """
    settings = EvaluationSettings.model_validate(evaluation)
    asked = read_shard(questions, manifest, shard, seed)
    source = open_speech(manifest, features)
    check_ids(manifest, asked.ids, features or manifest, source.ids)
    loaded = open_model(model)
    records = {} if text is None else written_records(loaded.lm, asked, settings, max_new_tokens, partial)
    outcomes = answer_spoken(loaded.lm, asked, source, settings, max_new_tokens, partial)
    records["speech"] = [
        record(question.id, "speech", question.spoken, outcome) for (question, _), outcome in zip(asked.kept, outcomes)
    ]
    write_answers(
        {form: path for form, path in (("text", text), ("speech", speech), ("asr", asr)) if path is not None},
        records,
        asked,
        dict(evaluation) | {"max_new_tokens": max_new_tokens, "system_prompt": model.system_prompt},
        **loaded.facts,
        shard=shard,
        seed=seed,
        decoding="greedy",
    )
    partial.remove()


def answer_spoken(
    model: SpeechLM,
    asked: ShardQuestions,
    source: SpeechSource,
    settings: EvaluationSettings,
    max_new_tokens: int,
    partial: PartialBatches,
) -> list[Outcome]:
    """Outcomes of the spoken questions, in the order of the kept questions."""
    encoders: list[Encode] = [
        lambda question=question: model.encode_speech(source.speech(question.id)) for question, _ in asked.kept
    ]
    requests = [scoring_request(question, settings) for question, _ in asked.kept]
    wanted = [[request] for request in requests]
    found = answer_queries(model, encoders, wanted, settings, max_new_tokens, "spoken questions", partial)
    return [outcomes[request] for request, outcomes in zip(requests, found)]


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: answer_questions(
            *(optional_path(s.input[name]) for name in INPUTS),
            ModelSource.of_step(s),
            *(optional_path(s.output.get(name)) for name in ("text", "speech", "asr")),
            PartialBatches.of_step(s),
            **{name: s.params[name] for name in ("shard", "max_new_tokens", "evaluation", "seed")},
        ),
    )
