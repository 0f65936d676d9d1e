"""answers.jsonl: what a model answered to each question in one form."""

from pydantic import Field

from workflow_scripts.artifacts.questions import Id
from workflow_scripts.artifacts.records import Record, RecordFile


class AnswerRecord(Record):
    """One answer with what is needed to score it again without a model."""

    id: Id
    form: str = Field(description="text, speech or asr; interventions add the edit's name in `edit`.")
    edit: str = Field(default="none", description="Name of the intervention, none for plain evaluation.")
    prompt_hash: str = Field(description="First 16 hex digits of the SHA-256 of the text the form carries.")
    answer: str
    token_ids: list[int]
    finish_reason: str = Field(description="stop or length.")
    seconds: float = Field(ge=0, description="Share of the batch's wall time.")
    reference_nll: float | None = Field(
        default=None, description="Nats of the reference answer, teacher-forced; None if there is none."
    )
    reference_tokens: int = Field(default=0, description="Tokens of the reference answer.")
    n_edited: int = Field(default=0, description="Speech positions changed by the edit.")


ANSWERS = RecordFile("answers/1", AnswerRecord)
EDITED_ANSWERS = RecordFile("edited-answers/1", AnswerRecord, unique=None)
"""As answers, with one line per question and edit."""
