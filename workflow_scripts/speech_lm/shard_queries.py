"""Where spoken questions come from, and the kept questions of one shard as written and spoken queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import soundfile

from workflow_scripts.artifacts.features import FeatureReader
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.kept import check_ids, read_shard
from workflow_scripts.artifacts.questions import Question
from workflow_scripts.artifacts.utterances import UTTERANCES
from workflow_scripts.speech_lm.protocol import SAMPLE_RATE, Query, Speech, SpeechLM


class SpeechSource(Protocol):
    """Spoken questions by id, read when they are asked for.

    Attributes:
        ids: kept questions. seconds: length of the audio by id.
    """

    ids: Sequence[str]
    seconds: Mapping[str, float]

    def speech(self, name: str) -> Speech:
        """A spoken question as a model takes it."""
        ...


class CachedFeatures:
    """A `SpeechSource` of encoder features, for models that read them."""

    def __init__(self, path: Path) -> None:
        self._reader = FeatureReader(path)
        self.ids, self.seconds = self._reader.ids, self._reader.seconds

    def speech(self, name: str) -> Speech:
        """The encoder's frames of a question and, if they were kept, of the silence behind it."""
        reader = self._reader
        return Speech(None, SAMPLE_RATE, reader.seconds[name], reader[name], reader.padding(name))


class AudioFiles:
    """A `SpeechSource` of a manifest's kept utterances, for models that encode audio themselves."""

    def __init__(self, manifest: Path) -> None:
        kept = [row for row in UTTERANCES.read(Path(manifest)) if row.kept]
        self.folder = Path(manifest).parent
        self.ids = [row.id for row in kept]
        self.seconds = {row.id: row.seconds for row in kept}
        self._rows = {row.id: row for row in kept}

    def speech(self, name: str) -> Speech:
        """The audio of a question.

        Raises:
            ArtifactError: the file is missing, damaged, not the one recorded, not mono or of another rate; names it.
        """
        path = self._rows[name].audio_file(self.folder)
        try:
            samples, rate = soundfile.read(path, dtype="float32")
        except (soundfile.LibsndfileError, OSError) as error:
            raise ArtifactError(
                f"{path} cannot be read ({error}); delete {self.folder}/synthesis.jsonl and run again"
            ) from None
        if rate != SAMPLE_RATE or samples.ndim != 1:
            raise ArtifactError(
                f"{path} has {rate} samples per second and shape {samples.shape}, expected mono at {SAMPLE_RATE}; "
                f"delete {self.folder}/synthesis.jsonl and run again"
            )
        return Speech(samples, rate, len(samples) / rate)


def open_speech(manifest: Path, features: Path | None) -> SpeechSource:
    """Cached features where the model reads them, else the audio."""
    return AudioFiles(manifest) if features is None else CachedFeatures(features)


@dataclass(frozen=True)
class SpokenShard:
    """Kept questions of one shard, in the order of questions.jsonl.

    Attributes:
        questions: the kept questions.
        dropped: ids of the shard's questions that the speech stage dropped.
        source: where their speech comes from.
    """

    questions: list[Question]
    dropped: list[str]
    source: SpeechSource

    @property
    def ids(self) -> list[str]:
        """Ids of the kept questions."""
        return [question.id for question in self.questions]

    def written(self, lm: SpeechLM, number: int) -> Query:
        """Kept question `number` as text."""
        return lm.encode_text(self.questions[number].prompt)

    def spoken(self, lm: SpeechLM, number: int) -> Query:
        """Kept question `number` as speech."""
        return lm.encode_speech(self.source.speech(self.questions[number].id))

    def padded(self, lm: SpeechLM, number: int) -> Query | None:
        """Kept question `number` as speech with the padding behind it, None where there is none."""
        return lm.encode_padded(self.source.speech(self.questions[number].id))


def read_spoken_shard(questions: Path, manifest: Path, features: Path | None, shard: str, seed: int) -> SpokenShard:
    """The kept questions of a shard; `seed` is that of the split into shards, `features` None where audio is taken.

    Raises:
        ArtifactError: questions, manifest and features do not hold the same ids, or no question was kept.
    """
    asked = read_shard(questions, manifest, shard, seed)
    source = open_speech(manifest, features)
    check_ids(manifest, asked.ids, features or manifest, source.ids)
    return SpokenShard([question for question, _ in asked.kept], asked.dropped, source)
