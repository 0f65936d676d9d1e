"""The questions of one shard whose audio was kept, as written and spoken queries."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from workflow_scripts.artifacts.kept import check_ids, read_shard
from workflow_scripts.artifacts.questions import Question
from workflow_scripts.speech_lm.heard_audio import Heard, open_heard, speech_of
from workflow_scripts.speech_lm.protocol import Query, SpeechLM


@dataclass(frozen=True)
class SpokenShard:
    """Kept questions of one shard, in the order of questions.jsonl.

    Attributes:
        questions: the kept questions.
        dropped: ids of the shard's questions that the speech stage dropped.
        features: encoder output of the questions' audio, or the audio itself for models that encode it.
    """

    questions: list[Question]
    dropped: list[str]
    features: Heard

    @property
    def ids(self) -> list[str]:
        """Ids of the kept questions."""
        return [question.id for question in self.questions]

    def written(self, lm: SpeechLM, number: int) -> Query:
        """Kept question `number` as text."""
        return lm.encode_text(self.questions[number].prompt)

    def spoken(self, lm: SpeechLM, number: int) -> Query:
        """Kept question `number` as speech."""
        return lm.encode_speech(speech_of(self.features, self.questions[number].id))

    def padded(self, lm: SpeechLM, number: int) -> Query | None:
        """Kept question `number` as speech with the padding behind it, None where there is none."""
        return lm.encode_padded(speech_of(self.features, self.questions[number].id))


def read_spoken_shard(questions: Path, manifest: Path, features: Path | None, shard: str, seed: int) -> SpokenShard:
    """The kept questions of a shard; `seed` is that of the split into shards, `features` None to hear the audio.

    Raises:
        ArtifactError: questions, manifest and features do not hold the same ids, or no question was kept.
    """
    asked = read_shard(questions, manifest, shard, seed)
    reader = open_heard(manifest, features)
    check_ids(manifest, asked.ids, features or manifest, reader.ids)
    return SpokenShard([question for question, _ in asked.kept], asked.dropped, reader)
