"""The speech stage's manifest.jsonl: one line per question that was to be spoken."""

from pathlib import Path

from pydantic import Field

from workflow_scripts.artifacts.files import ArtifactError, sha256_file
from workflow_scripts.artifacts.questions import Id
from workflow_scripts.artifacts.records import Record, RecordFile


class Utterance(Record):
    """One spoken question. `audio` is relative to the manifest's folder; dropped ones keep their reason."""

    id: Id
    audio: str | None = Field(
        description="Path of the FLAC file below the manifest's folder; None if synthesis failed."
    )
    sha256: str | None = Field(description="Of the FLAC file.")
    seconds: float = Field(ge=0)
    sample_rate: int
    source_rate: int | None = Field(
        default=None, description="Rate in Hz that the voice gave, before resampling; None if dropped."
    )
    transcript: str | None = Field(default=None, description="What the ASR heard, or what came with the recording.")
    transcript_given: bool = Field(default=False, description="Whether the transcript came with the recording.")
    wer: float | None = Field(default=None, ge=0, description="Word error rate of the transcript, normalised.")
    kept: bool
    reason: str = Field(default="", description="Why it was dropped; empty if kept.")
    attempts: int = Field(ge=0)

    def audio_file(self, folder: Path) -> Path:
        """The FLAC file, `folder` being the manifest's.

        Raises:
            ArtifactError: it is not the file that was recorded; names it. A missing file is left to its reader.
        """
        path = folder / (self.audio or "")
        if path.is_file() and self.sha256 is not None and sha256_file(path) != self.sha256:
            raise ArtifactError(
                f"{path}: not the audio that the manifest lists (another SHA-256); delete {folder}/synthesis.jsonl and "
                "run again"
            )
        return path


SYNTHESIS = RecordFile("synthesis/1", Utterance)
"""After synthesis, before the ASR: wer is None, and transcript unless it came with the recording."""
UTTERANCES = RecordFile("utterances/1", Utterance)
"""After the ASR and the filters."""
