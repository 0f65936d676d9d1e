"""Settings of the patching stage: which states are exchanged between the written and the spoken form of a question."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from workflow_scripts.settings.base import NAME_PATTERN, Settings

Positions = Literal["last", "template", "query", "content", "answer"]
EVERY_CLASS: tuple[Positions, ...] = ("last", "template", "query", "content", "answer")
"""Position classes; docs/patching.md defines them."""


class AttentionSettings(Settings):
    """Where answers look, and what they are when they cannot look at the query."""

    window: int = Field(default=5, ge=1, le=1000, description="Consecutive layers in which the query is hidden.")
    stride: int = Field(
        default=3, ge=1, le=1000, description="Layers between two windows' first ones; all layers come in addition."
    )
    draws: int = Field(default=3, ge=1, le=100, description="Draws of as many random other positions, the control.")


class PatchingSettings(Settings):
    """Which questions, positions and layers are patched."""

    subset: str | None = Field(
        default=None,
        pattern=NAME_PATTERN,
        description="Subset whose questions are patched; default: intervention.subset.",
    )
    select: Literal["discordant", "all"] = Field(
        default="discordant",
        description="Questions answered rightly in one form only, or all kept ones.",
    )
    questions: int = Field(
        default=24, gt=0, description="Of each shard, at most so many of each kind: right in writing only, aloud only."
    )
    positions: list[Positions] = Field(default=list(EVERY_CLASS), min_length=1, description="Position classes.")
    windows: list[Annotated[int, Field(ge=1, le=100)]] = Field(
        default=[1, 3], min_length=1, description="Consecutive layers patched together; 1: a single layer."
    )
    layers: list[Annotated[int, Field(ge=0, le=1000)]] | None = Field(
        default=None, min_length=1, description="First layers of the windows, 0 = embeddings; default: all."
    )
    batch_size: int = Field(default=8, gt=0, description="Questions whose states are in memory at once.")
    attention: AttentionSettings | None = Field(
        default=None, description="Attention of the answer to the query, and its knockout by layer; null: not done."
    )

    @field_validator("positions", "windows", "layers")
    @classmethod
    def _different(cls, value: list | None) -> list | None:
        if value is not None and len(set(value)) < len(value):
            raise ValueError(f"{value}: name each once")
        return value
