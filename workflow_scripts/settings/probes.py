"""Settings of the probes stage."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from workflow_scripts.settings.base import Names, Settings

Target = Literal["word", "number", "entity", "voice", "recorded"]
EVERY_TARGET: tuple[Target, ...] = ("word", "number", "entity", "voice", "recorded")
"""What is read off the states; docs/probes.md defines it."""


class ProbeSettings(Settings):
    """What linear probes are asked about, and of which items and layers."""

    targets: list[Target] = Field(default=list(EVERY_TARGET), min_length=1, description="What is read off the states.")
    subsets: Names | None = Field(
        default=None, description="Analysed subsets whose questions are pooled; default: all of `activations.subsets`."
    )
    layers: list[Annotated[int, Field(ge=0, le=1000)]] | None = Field(
        default=None, min_length=1, description="Layers, 0 = embeddings; default: all that are kept."
    )
    words: int = Field(default=20, ge=2, description="Content words that are told apart: the most frequent ones.")
    occurrences: int = Field(default=5, ge=2, description="Different questions in which a class must occur.")
    most: int = Field(default=200, ge=2, description="Items of one class at most; a random choice.")
    folds: int = Field(default=5, ge=2, description="Parts of the questions, each asked by probes of all others.")
    draws: int = Field(default=3, ge=1, description="Draws of the control task.")

    @field_validator("targets", "layers")
    @classmethod
    def _different(cls, value: list | None) -> list | None:
        if value is not None and len(set(value)) < len(value):
            raise ValueError(f"{value}: name each once")
        return value
