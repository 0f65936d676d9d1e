"""Answers of one checkpoint that cannot rest on what was said: to silence, and to the audio of another question (ours).

- `silence`: digital silence as long as the question's audio.
- `other`: the audio of another question of the shard, of like length (a seeded derangement within length bins).

Whatever a model scores here it scores without listening: the answers it favours, and for `other` how often the answer
to one question is right for another. Prompt, decoding and option probabilities are those of the form speech.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.kept import ShardQuestions, check_ids, read_shard
from workflow_scripts.artifacts.partial import PartialBatches
from workflow_scripts.evaluation.answering import Encode, answer_queries, record, scoring_request, write_answers
from workflow_scripts.measures.shuffle_null import derangements
from workflow_scripts.settings.analysis import EvaluationSettings
from workflow_scripts.speech_lm.opening.open_model import ModelSource, open_model, optional_path
from workflow_scripts.speech_lm.protocol import SAMPLE_RATE, Speech
from workflow_scripts.speech_lm.shard_queries import CachedFeatures, SpeechSource, open_speech

INPUTS = ("questions", "manifest", "features", "silence")
SILENCE, OTHER = "silence", "other"


class SilentAudio:
    """A `SpeechSource` of digital silence, as long as the audio of another source."""

    def __init__(self, source: SpeechSource) -> None:
        self._source = source
        self.ids, self.seconds = source.ids, source.seconds

    def speech(self, name: str) -> Speech:
        """Zeros in place of a question's samples."""
        spoken = self._source.speech(name)
        return Speech(np.zeros_like(spoken.waveform), SAMPLE_RATE, spoken.seconds)


def answer_floors(
    questions: Path,
    manifest: Path,
    features: Path | None,
    silent: Path | None,
    model: ModelSource,
    silence: Path,
    other: Path,
    partial: PartialBatches,
    *,
    shard: str,
    max_new_tokens: int,
    evaluation: Mapping[str, Any],
    seed: int,
) -> None:
    """Ask one checkpoint every kept question of a shard in both forms.

    Args:
        features, silent: encoder features of the audio and of silence; None for models that hear the audio itself.
        silence, other: the outputs. partial: finished batches of an earlier, killed run.
        seed: of the split into shards and of the partners.

    Raises:
        ArtifactError: the inputs do not hold the same questions, or the shard has one question only.
    """
    settings = EvaluationSettings.model_validate(evaluation)
    asked = read_shard(questions, manifest, shard, seed)
    source = open_speech(manifest, features)
    check_ids(manifest, asked.ids, features or manifest, source.ids)
    quiet = SilentAudio(source) if silent is None else CachedFeatures(silent)
    check_ids(manifest, asked.ids, silent or manifest, quiet.ids)
    heard = {SILENCE: (quiet, asked.ids), OTHER: (source, other_questions(asked, seed, manifest))}
    loaded = open_model(model)
    requests = [scoring_request(question, settings) for question, _ in asked.kept]
    records = {}
    for form, (clips, names) in heard.items():
        encoders: list[Encode] = [
            lambda clips=clips, name=name: loaded.lm.encode_speech(clips.speech(name)) for name in names
        ]
        wanted = [[request] for request in requests]
        found = answer_queries(loaded.lm, encoders, wanted, settings, max_new_tokens, form, partial)
        carried = names if form == OTHER else [""] * len(names)
        records[form] = [
            record(name, form, text, outcomes[request])
            for name, text, request, outcomes in zip(asked.ids, carried, requests, found, strict=True)
        ]
    write_answers(
        {SILENCE: silence, OTHER: other},
        records,
        asked,
        dict(evaluation) | {"max_new_tokens": max_new_tokens, "system_prompt": model.system_prompt},
        **loaded.facts,
        shard=shard,
        seed=seed,
        decoding="greedy",
    )
    partial.remove()


def other_questions(asked: ShardQuestions, seed: int, manifest: Path) -> list[str]:
    """For each kept question the id of another one of like length, each used once.

    Raises:
        ArtifactError: there is no other question.
    """
    if len(asked.ids) < 2:
        raise ArtifactError(
            f"{manifest}: one kept question in the shard, and no other whose audio could be heard instead; ask more "
            "questions, or set evaluation.floors to false"
        )
    lengths = np.array([round(1000 * utterance.seconds) for _, utterance in asked.kept])
    return [asked.ids[place] for place in derangements(lengths, lengths, 1, seed)[0].tolist()]


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: answer_floors(
            *(optional_path(s.input[name]) for name in INPUTS),
            ModelSource.of_step(s),
            *(Path(s.output[name]) for name in (SILENCE, OTHER)),
            PartialBatches.of_step(s),
            **{name: s.params[name] for name in ("shard", "max_new_tokens", "evaluation", "seed")},
        ),
    )
