"""Models of which there are only answers: a closed model, or one that another program ran."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from workflow_scripts.settings.audits import Harness
from workflow_scripts.settings.base import Settings
from workflow_scripts.settings.families.base import ModelSettings


class GivenFiles(Settings):
    """The answers to one subset."""

    text: list[str] = Field(min_length=1, description="Files of answers to the written questions.")
    speech: list[str] = Field(min_length=1, description="Files of answers to the spoken questions.")
    asr: list[str] = Field(default=[], description="Files of answers to the transcripts; for every subset or for none.")


class AnswersModel(ModelSettings):
    """Answers made elsewhere to the study's questions: scored and compared like any model's, never opened."""

    opened: ClassVar[bool] = False

    family: Literal["answers"] = Field(description="Answers from files; no states, no floors, no interventions.")
    harness: Harness = Field(description="What wrote the files.")
    files: dict[str, GivenFiles] = Field(min_length=1, description="Files by key of benchmark.subsets, each of them.")

    @model_validator(mode="after")
    def _asr_everywhere_or_nowhere(self) -> "AnswersModel":
        having = [subset for subset, given in self.files.items() if given.asr]
        if having and len(having) < len(self.files):
            lacking = sorted(set(self.files) - set(having))
            raise ValueError(f"asr is given for {having}, but not for {lacking}; give it for every subset or for none")
        return self

    @property
    def forms(self) -> list[str]:
        """The transcripts' answers only where they are given."""
        return ["text", "speech", *(["asr"] if all(given.asr for given in self.files.values()) else [])]

    @property
    def editable(self) -> bool:
        """There is nothing to edit."""
        return False

    def paths(self, subset: str, form: str) -> list[str]:
        """The files of answers to a subset in one form."""
        return getattr(self.files[subset], form)
