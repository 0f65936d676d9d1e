"""questions.jsonl: what is asked, what the voice reads, and what counts as right."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, StringConstraints, field_validator

from workflow_scripts.artifacts.records import Record, RecordFile

ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,79}$"
Id = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
"""Ids become file names: letters, digits, '_' and '-' only."""


class Question(Record):
    """One question of a benchmark subset, or one training prompt."""

    id: Id
    subset: str
    prompt: str = Field(min_length=1, description="Exactly what is shown to the model.")
    spoken: str = Field(min_length=1, description="What the voice reads; numbers and option letters speakable.")
    reference: list[str] = Field(
        description="Letter, accepted answers, or target text; empty if the scorer needs none."
    )
    options: list[str] = Field(default=[], description="Texts of options A, B, ... of a multiple-choice question.")
    instructions: list[dict[str, Any]] = Field(default=[], description="IFEval: {id, kwargs} per instruction.")
    scorer: str
    source: dict[str, Any] = Field(description="Asset, file and row the question was made from.")

    @field_validator("prompt", "spoken")
    @classmethod
    def _has_words(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("question with empty text")
        return text


QUESTIONS = RecordFile("questions/1", Question)


def by_subset(paths: Iterable[Path]) -> dict[str, dict[str, Question]]:
    """Questions by id of each subset, from several files; a subset that is in none of them has no questions.

    Ids are told apart within a subset only.
    """
    found: dict[str, dict[str, Question]] = defaultdict(dict)
    for path in paths:
        for question in QUESTIONS.read(Path(path)):
            found[question.subset][question.id] = question
    return found
