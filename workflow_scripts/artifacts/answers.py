"""answers.jsonl: what a model answered to each question in one form."""

from pydantic import Field

from workflow_scripts.artifacts.questions import Id
from workflow_scripts.artifacts.records import Record, RecordFile


class OptionRecord(Record):
    """How likely the answer begins with each option of a multiple-choice question: natural logarithms."""

    letters: list[float] = Field(description="ln p of the letter, summed over its spellings; not normalised.")
    texts: list[float] = Field(description="ln p of the whole option text.")
    text_tokens: list[int] = Field(description="Tokens of the option text.")


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
    options: OptionRecord | None = Field(default=None, description="Multiple choice only, where it was asked for.")
    n_edited: int = Field(default=0, description="Speech positions changed by the edit.")


ANSWERS = RecordFile("answers/2", AnswerRecord)
EDITED_ANSWERS = RecordFile("edited-answers/2", AnswerRecord, unique=None)
"""As answers, with one line per question and edit."""
