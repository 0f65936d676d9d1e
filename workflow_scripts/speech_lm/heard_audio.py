"""The audio of kept questions, for models that encode it themselves; read when it is asked for."""

from __future__ import annotations

from pathlib import Path

import soundfile

from workflow_scripts.artifacts.features import FeatureReader
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.utterances import UTTERANCES
from workflow_scripts.speech_lm.protocol import SAMPLE_RATE, Speech


class AudioReader:
    """Waveforms of a manifest's kept utterances by question id; nothing is held in memory.

    Attributes:
        ids: kept questions. seconds: length of the audio by id.
    """

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


Heard = FeatureReader | AudioReader
"""Where spoken questions come from: cached encoder features, or the audio itself."""


def open_heard(manifest: Path, features: Path | None) -> Heard:
    """Cached features where the model reads them, else the audio."""
    return AudioReader(manifest) if features is None else FeatureReader(features)


def speech_of(heard: Heard, name: str) -> Speech:
    """A spoken question as a model takes it."""
    if isinstance(heard, AudioReader):
        return heard.speech(name)
    return Speech(None, SAMPLE_RATE, heard.seconds[name], heard[name], heard.padding(name))
