"""attention.jsonl, knockout.jsonl: where the answer to a question looks, and what it is when it cannot look there."""

from pydantic import Field

from workflow_scripts.artifacts.questions import Id
from workflow_scripts.artifacts.records import Record, RecordFile

FIRST, BEFORE, QUERY, AFTER, ANSWER = "first", "before", "query", "after", "answer"
LOOKED_AT = (FIRST, BEFORE, QUERY, AFTER, ANSWER)
"""Classes of positions: the very first one, on which many models park attention; the template before the query; the
query, spoken or written; the template behind it; the answer's own tokens."""
SPEECH, TEXT = "speech", "text"
"""Forms of a question."""


class AttentionRecord(Record):
    """One question in one form: by class of positions, a value for every layer."""

    id: Id
    kind: str
    form: str
    n_rows: int = Field(default=0, description="Positions that look: the prompt's last, the answer's tokens but one.")
    uniform: dict[str, float] = Field(default={}, description="Share of the positions in sight, mean over rows.")
    shares: dict[str, list[float]] = Field(default={}, description="Share of the attention, mean over rows and heads.")
    highest: dict[str, list[float]] = Field(default={}, description="The same of the head that looks there most.")
    skipped: str = Field(default="", description="Why nothing was read; empty where something was.")


class KnockoutRecord(Record):
    """One question in one form: the outcome when its answer cannot look at the query, by window of layers."""

    id: Id
    kind: str
    form: str
    outcome: str = Field(default="", description="What is read: letter_margin or reference_log_prob.")
    base: float = Field(default=0.0, description="Outcome with nothing hidden.")
    n_positions: int = Field(default=0, description="Positions of the query, all hidden.")
    n_control: int = Field(default=0, description="Positions hidden by the control: as many, or all others there are.")
    windows: list[tuple[int, int]] = Field(default=[], description="First layer and number of layers of each window.")
    values: list[float] = Field(default=[], description="Outcome with the query hidden, by window.")
    controls: list[list[float]] = Field(default=[], description="By draw: outcome with random others hidden.")
    skipped: str = Field(default="", description="Why nothing was hidden; empty where something was.")


ATTENTION = RecordFile("attention/1", AttentionRecord, unique=None)
KNOCKOUT = RecordFile("knockout/1", KnockoutRecord, unique=None)
