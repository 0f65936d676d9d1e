"""scores.json: per-question scores of one form and their aggregate."""

from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from workflow_scripts.artifacts.files import ArtifactError, read_text, write_text
from workflow_scripts.artifacts.records import Record

SCHEMA = "scores/3"


class EstimateRecord(Record):
    """A mean over `n` questions with its 95 % interval, empty where the spread is unknown."""

    value: float
    low: float | None
    high: float | None
    n: int
    method: str


class OptionScoreRecord(Record):
    """What the option log-probabilities of one question say (`scoring.option_probabilities`)."""

    letter: str | None = Field(description="Most likely letter; null on a tie.")
    letter_correct: bool
    letter_log_prob: float = Field(description="ln p of the right letter, normalised over the letters.")
    letter_margin: float = Field(description="ln p(right letter) - ln p(best wrong letter).")
    outside_mass: float = Field(description="Probability of beginning with none of the letters.")
    option: str | None = Field(description="Letter of the option whose text is most likely per character.")
    option_correct: bool
    option_log_prob: float
    option_margin: float = Field(description="Lead of the right text over the best wrong one, nats per character.")


class QuestionScore(Record):
    """Score of one answer."""

    id: str
    score: float = Field(ge=0, le=1)
    parsed: str | None
    outcome: str
    rule: str
    unparsed: bool
    details: dict[str, Any] = Field(default={})
    reference_nll: float | None = None
    reference_tokens: int = 0
    options: OptionScoreRecord | None = None
    ties: int | None = Field(default=None, description="Tokens of the answer chosen among equally likely ones.")
    traits: list[str] | None = Field(
        default=None, description="What the answer is whatever was asked: names of `scoring.answer_traits`."
    )


class ScoreFile(Record):
    """Scores of one (model, checkpoint, subset, form)."""

    schema_: str = Field(default=SCHEMA, alias="schema")
    model: str
    checkpoint: str
    subset: str
    form: str
    scorer: str
    scorer_version: str
    n: int
    mean: float = Field(description="0 to 100.")
    interval_low: float
    interval_high: float
    interval_method: str
    unparsed_rate: float
    estimates: dict[str, EstimateRecord] = Field(
        default={}, description="Numbers beside the score with n and interval; units: docs/scoring.md."
    )
    nll_per_token: float | None = Field(description="Reference-answer loss, nats per token, pooled over questions.")
    questions: list[QuestionScore]
    provenance: dict[str, Any]

    def write(self, path: Path) -> None:
        """Write as JSON, atomically."""
        write_text(Path(path), self.model_dump_json(by_alias=True, indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> "ScoreFile":
        """Read and validate.

        Raises:
            ArtifactError: not found, wrong schema or bad field; names the file, the field and the remedy.
        """
        try:
            found = cls.model_validate_json(read_text(path, "the scoring step"))
        except ValidationError as error:
            problem = error.errors()[0]
            field = ".".join(str(part) for part in problem["loc"]) or "(file)"
            raise ArtifactError(f"{path}, field {field}: {problem['msg']}; delete it and run again") from None
        if found.schema_ != SCHEMA:
            raise ArtifactError(f"{path}: schema {found.schema_!r}, expected {SCHEMA!r}; delete it and run again")
        return found
