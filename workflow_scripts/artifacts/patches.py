"""patches.jsonl: what a model makes of a question when states of its other form are put in their place."""

from pydantic import Field

from workflow_scripts.artifacts.questions import Id
from workflow_scripts.artifacts.records import Record, RecordFile

TEXT_ONLY, SPEECH_ONLY, ALL = "text_only", "speech_only", "all"
"""Kinds of questions: answered rightly in writing only, aloud only, or all kept ones, whichever is right."""
TO_SPEECH, TO_TEXT = "text_to_speech", "speech_to_text"
"""Directions: states of the text run into the speech run, and the reverse."""
PATCH, OTHER, RANDOM = "patch", "other", "random"
"""Sources of the new states: the other form; that form of another question; a random shift of the same length."""


class PatchRecord(Record):
    """One question under one position class and source: a value per first layer of the window."""

    id: Id
    kind: str
    direction: str
    positions: str = Field(description="Position class.")
    source: str = Field(default="", description="patch, other or random; empty where the class was skipped.")
    window: int = Field(default=0, description="Layers patched together.")
    n_positions: int = Field(default=0, description="Positions patched.")
    layers: list[int] = Field(default=[], description="First layer of each window.")
    values: list[float] = Field(default=[], description="Outcome under the patch.")
    kl: list[float] = Field(default=[], description="KL(run that states come from || patched), next token, nats.")
    agrees: list[bool] = Field(default=[], description="The most likely next token is that of the other form's run.")
    base: float = Field(default=0.0, description="Outcome of the unpatched run.")
    target: float = Field(default=0.0, description="Outcome of the run of the other form.")
    base_kl: float = Field(default=0.0, description="KL of the unpatched run.")
    skipped: str = Field(default="", description="Why nothing was patched; empty where something was.")


PATCHES = RecordFile("patches/1", PatchRecord, unique=None)
