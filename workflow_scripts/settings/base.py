"""The base of every settings model: unknown keys are errors, values are frozen, every field is described."""

import difflib
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]*$"
"""Keys of `models`, `voices`, `subsets` and `assets` become path parts: lower case, no separators, no leading dot."""
MAX_NAME_LENGTH = 80
"""Longest such key: several of them, with endings, make one file name of at most 255 bytes."""
MAX_SEED = 2**32 - 1
"""Largest seed that numpy and torch both take."""
MAX_STEP = 999_999
"""Largest training step: folders of checkpoints have six digits."""


class ConfigError(ValueError):
    """The config is wrong; the message names each key, its value and the remedy."""


class Settings(BaseModel):
    """A section of the config. Unknown keys are refused so that a typo cannot silently mean a default."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False)


def _different(values: list[Any]) -> list[Any]:
    if repeated := sorted({str(value) for value in values if values.count(value) > 1}):
        raise ValueError(f"{', '.join(repeated)} stands more than once; name each once")
    return values


Names = Annotated[list[str], Field(min_length=1), AfterValidator(_different)]
"""Different names, at least one."""
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
Step = Annotated[int, Field(ge=0, le=MAX_STEP)]
Rate = Annotated[float, Field(gt=0)]


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint with the nearest known name, or with all of them when none is near."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(sorted(names))}"
