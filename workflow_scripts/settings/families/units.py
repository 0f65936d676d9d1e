"""Language models whose vocabulary holds speech units."""

import re
from typing import Literal

from pydantic import Field, model_validator

from workflow_scripts.settings.families.public import CLASS_PATH, PublicModel


class UnitsModel(PublicModel):
    """A causal LM whose vocabulary holds speech units."""

    family: Literal["units"] = Field(description="Speech as vocabulary ids.")
    unit_token: str = Field(description="Text of a unit's token with {} for its number, such as <{}>.")
    begin: str = Field(default="", description="Text before the units, such as <sosp>.")
    end: str = Field(default="", description="Text after the units, such as <eosp>.")
    prompt: str | None = Field(
        default=None, description="Prompt with {query} in it; default: the tokenizer's chat template."
    )
    quantizer: str = Field(
        description="Key of `assets`: HuBERT with centroids.safetensors, or GLM-4-Voice's speech tokenizer; or "
        "package.module:Class."
    )
    quantizer_layer: int = Field(default=11, gt=0, description="HuBERT layer that is quantised.")
    merge_repeats: bool = Field(default=True, description="One token for a run of equal units.")
    max_seconds: float | None = Field(default=None, gt=0, description="Longest clip.")

    @model_validator(mode="after")
    def _placeholders(self) -> "UnitsModel":
        if self.unit_token.count("{}") != 1:
            raise ValueError(f"unit_token {self.unit_token!r} must hold {{}} exactly once, for the unit's number")
        if self.prompt is not None and self.prompt.count("{query}") != 1:
            raise ValueError(f"prompt {self.prompt!r} must hold {{query}} exactly once")
        return self

    @property
    def parts(self) -> dict[str, str]:
        """The quantizer, unless it is a user-defined class."""
        return {} if re.match(CLASS_PATH, self.quantizer) else {"quantizer": self.quantizer}
