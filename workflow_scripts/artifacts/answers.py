"""answers.jsonl: what a model answered to each question in one form."""

from pydantic import Field

from workflow_scripts.artifacts.questions import Id
from workflow_scripts.artifacts.records import Record, RecordFile

FORMS = ("text", "speech", "asr")
"""How a question is asked: written, spoken, or as the recogniser's transcript of the speech."""


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
    ties: int | None = Field(
        default=None, description="Tokens chosen among equally likely ones (in float32; the lowest id); None: unknown."
    )
    n_edited: int = Field(default=0, description="Speech positions changed by the edit.")


ANSWERS = RecordFile("answers/2", AnswerRecord)


class EditedAnswerRecord(AnswerRecord):
    """One answer under one cell of the intervention grid, with what the cell did to this question."""

    kl_first: float | None = Field(
        default=None, description="KL(text || this), nats, of the distributions of the first answer token."
    )
    frames: list[int] = Field(default=[], description="Speech positions edited, at the first edited layer.")
    tokens: list[int] = Field(default=[], description="Text tokens they were paired with.")
    shifts: list[float] = Field(default=[], description="Length of the change of each edited vector, over layers.")
    skipped: str = Field(default="", description="Why nothing was edited; empty where something was.")
    words_spread: float | None = Field(
        default=None, description="Erasures: squared distance of the words' vectors from their mean in other questions."
    )
    words_error_before: float | None = Field(
        default=None, description="Squared error of a linear reader of other questions, unedited."
    )
    words_error_after: float | None = Field(default=None, description="The same where all have been erased.")


EDITED_ANSWERS = RecordFile("edited-answers/2", EditedAnswerRecord, unique=None)
"""As answers, with one line per question and cell: `none` unedited, `text` the written question, then the grid."""
