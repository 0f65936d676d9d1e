"""The base of every settings model: unknown keys are errors, values are frozen, every field is described."""

from pydantic import BaseModel, ConfigDict

NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]*$"
"""Keys of `models`, `voices`, `subsets` and `assets` become path parts: lower case, no separators, no leading dot."""


class Settings(BaseModel):
    """A section of the config. Unknown keys are refused so that a typo cannot silently mean a default."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
