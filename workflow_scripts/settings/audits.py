"""Settings of audits: answers that another program wrote, scored beside those of the study's models."""

from typing import Literal

from pydantic import Field

from workflow_scripts.settings.base import Settings
from workflow_scripts.settings.benchmark import Scorer

Harness = Literal["voicebench", "lmms-eval", "ultraeval-audio", "au-harness", "kimi-evalkit", "jsonl"]
"""Programs whose files are read (`audit.harnesses`)."""


class AuditSettings(Settings):
    """One set of answers made elsewhere (docs/audit.md); no model is loaded."""

    harness: Harness = Field(description="What wrote the files.")
    text: list[str] = Field(min_length=1, description="Files of answers to the written questions.")
    speech: list[str] = Field(min_length=1, description="Files of answers to the spoken questions.")
    asr: list[str] = Field(default=[], description="Files of answers to the transcripts, of a cascade.")
    questions: str | None = Field(
        default=None, description="JSON lines or CSV with prompts, references or options that the answers lack."
    )
    scorer: Scorer | None = Field(default=None, description="Scorer of all questions; default: as each one looks.")
    subset: str | None = Field(default=None, description="Name of the subset, where rows and file names say none.")
    join: Literal["auto", "id", "hash", "text", "order"] = Field(default="auto", description="What pairs the forms.")

    def files(self) -> list[str]:
        """Every file that is read."""
        return [*self.text, *self.speech, *self.asr, *([self.questions] if self.questions else [])]
