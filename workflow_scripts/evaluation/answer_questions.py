"""Answers of one checkpoint to the kept questions of one shard, in the forms text, speech and asr.

Decoding is greedy. The cost of the reference answer, where the question has one, is teacher-forced in nats
(`artifacts.questions.reference_answer`), and so are the options of a multiple-choice question (ln p of each letter and
each text as the beginning of the answer). Outputs: one answers.jsonl per form, all with the same ids.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.features import FeatureReader
from workflow_scripts.artifacts.kept import ShardQuestions, check_ids, read_shard
from workflow_scripts.artifacts.questions import Question
from workflow_scripts.artifacts.utterances import Utterance
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
from workflow_scripts.speech_lm.protocol import Speech, SpeechLM
from workflow_scripts.speech_lm.trained import open_trained


def answer_questions(
    questions: Path,
    manifest: Path,
    features: Path,
    model: Path,
    backbone: Path,
    encoder: Path,
    text: Path,
    speech: Path,
    asr: Path,
    *,
    checkpoint: str,
    shard: str,
    max_new_tokens: int,
    evaluation: Mapping[str, Any],
    system_prompt: str | None,
    seed: int,
) -> None:
    """Ask one checkpoint every kept question of a shard in every form.

    Args:
        model: checkpoints.json of the training run.
        backbone, encoder: asset.json of the language model and of the speech encoder it was trained with.
        text, speech, asr: the outputs, one per form.
        seed: of the split into shards; decoding draws nothing.

    Raises:
        ArtifactError: the inputs do not hold the same questions (checked before the model is loaded).
    """
    settings = EvaluationSettings.model_validate(evaluation)
    asked = read_shard(questions, manifest, shard, seed)
    encoded = FeatureReader(features)
    check_ids(manifest, asked.ids, features, encoded.ids)
    trained = open_trained(model, checkpoint, backbone=backbone, encoder=encoder, system_prompt=system_prompt)
    records = written_records(trained.lm, asked, settings, max_new_tokens)
    outcomes = answer_spoken(trained.lm, asked, encoded, settings, max_new_tokens)
    records["speech"] = [
        record(question.id, "speech", question.spoken, outcome) for (question, _), outcome in zip(asked.kept, outcomes)
    ]
    write_answers(
        {"text": text, "speech": speech, "asr": asr},
        records,
        asked,
        dict(evaluation) | {"max_new_tokens": max_new_tokens, "system_prompt": system_prompt},
        **trained.facts,
        shard=shard,
        seed=seed,
        decoding="greedy",
    )


def answer_spoken(
    model: SpeechLM, asked: ShardQuestions, features: FeatureReader, settings: EvaluationSettings, max_new_tokens: int
) -> list[Outcome]:
    """Outcomes of the spoken questions, in the order of the kept questions."""
    encoders: list[Encode] = [
        lambda question=question, utterance=utterance: model.encode_speech(_speech(question, utterance, features))
        for question, utterance in asked.kept
    ]
    wanted = [wanted_of(question, settings) for question, _ in asked.kept]
    found = answer_queries(model, encoders, [[one] for one in wanted], settings, max_new_tokens, "spoken questions")
    return [outcomes[one] for one, outcomes in zip(wanted, found)]


def _speech(question: Question, utterance: Utterance, features: FeatureReader) -> Speech:
    return Speech(
        waveform=None,
        rate=utterance.sample_rate,
        seconds=features.seconds[question.id],
        features=features[question.id],
    )


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: answer_questions(
            *(Path(s.input[name]) for name in ("questions", "manifest", "features", "model", "backbone", "encoder")),
            *(Path(s.output[name]) for name in ("text", "speech", "asr")),
            **{name: s.params[name] for name in ("checkpoint", "shard", "max_new_tokens", "evaluation")},
            system_prompt=s.params.system_prompt,
            seed=s.params.seed,
        ),
    )
