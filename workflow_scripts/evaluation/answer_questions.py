"""Answers of one checkpoint to the kept questions of one shard, in the forms text, speech and asr.

Decoding is greedy. The loss of the reference answer (`scoring.question_formats`), where the question has one, is
teacher-forced, in nats, and so are the options of a multiple-choice question (ln p of each letter and each text as the
beginning of the answer). Outputs: one answers.jsonl per form, all with the same ids.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.kept import ShardQuestions, check_ids, read_shard
from workflow_scripts.evaluation.answering import (
    Encode,
    Outcome,
    answer_queries,
    record,
    wanted_of,
    write_answers,
    written_records,
)
from workflow_scripts.settings.analysis import EvaluationSettings
from workflow_scripts.speech_lm.heard_audio import Heard, open_heard, speech_of
from workflow_scripts.speech_lm.opening.open_model import open_model, optional_path
from workflow_scripts.speech_lm.protocol import SpeechLM

INPUTS = ("questions", "manifest", "features", "model", "backbone", "encoder")


def answer_questions(
    questions: Path,
    manifest: Path,
    features: Path | None,
    model: Path,
    backbone: Path | None,
    encoder: Path | None,
    text: Path | None,
    speech: Path,
    asr: Path | None,
    *,
    checkpoint: str,
    shard: str,
    max_new_tokens: int,
    evaluation: Mapping[str, Any],
    system_prompt: str | None,
    seed: int,
    public: Mapping[str, Any] | None = None,
    quantizer: Path | None = None,
) -> None:
    """Ask one checkpoint every kept question of a shard in every form.

    Args:
        model: checkpoints.json of the training run, or asset.json of a public model.
        backbone, encoder: asset.json of the language model and of the speech encoder it was trained with.
        text, speech, asr: the outputs, one per form; without `text` and `asr` only the spoken form is asked.
        seed: of the split into shards; decoding draws nothing.

    Raises:
        ArtifactError: the inputs do not hold the same questions (checked before the model is loaded).
    """
    settings = EvaluationSettings.model_validate(evaluation)
    asked = read_shard(questions, manifest, shard, seed)
    encoded = open_heard(manifest, features)
    check_ids(manifest, asked.ids, features or manifest, encoded.ids)
    trained = open_model(
        model,
        checkpoint,
        backbone=backbone,
        encoder=encoder,
        system_prompt=system_prompt,
        public=public,
        quantizer=quantizer,
    )
    records = {} if text is None else written_records(trained.lm, asked, settings, max_new_tokens)
    outcomes = answer_spoken(trained.lm, asked, encoded, settings, max_new_tokens)
    records["speech"] = [
        record(question.id, "speech", question.spoken, outcome) for (question, _), outcome in zip(asked.kept, outcomes)
    ]
    write_answers(
        {form: path for form, path in (("text", text), ("speech", speech), ("asr", asr)) if path is not None},
        records,
        asked,
        dict(evaluation) | {"max_new_tokens": max_new_tokens, "system_prompt": system_prompt},
        **trained.facts,
        shard=shard,
        seed=seed,
        decoding="greedy",
    )


def answer_spoken(
    model: SpeechLM, asked: ShardQuestions, features: Heard, settings: EvaluationSettings, max_new_tokens: int
) -> list[Outcome]:
    """Outcomes of the spoken questions, in the order of the kept questions."""
    encoders: list[Encode] = [
        lambda question=question: model.encode_speech(speech_of(features, question.id)) for question, _ in asked.kept
    ]
    wanted = [wanted_of(question, settings) for question, _ in asked.kept]
    found = answer_queries(model, encoders, [[one] for one in wanted], settings, max_new_tokens, "spoken questions")
    return [outcomes[one] for one, outcomes in zip(wanted, found)]


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: answer_questions(
            *(optional_path(s.input[name]) for name in INPUTS),
            *(optional_path(s.output.get(name)) for name in ("text", "speech", "asr")),
            **{name: s.params[name] for name in ("checkpoint", "shard", "max_new_tokens", "evaluation")},
            **{name: s.params[name] for name in ("system_prompt", "seed", "public")},
            quantizer=optional_path(s.input.quantizer),
        ),
    )
