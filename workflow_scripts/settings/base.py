"""The base of every settings model: unknown keys are errors, values are frozen, every field is described."""

import difflib
import re
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]*$"
"""Keys of `models`, `voices`, `subsets` and `assets` become path parts: lower case, no separators, no leading dot."""
MAX_NAME_LENGTH = 80
"""Longest such key: several of them, with endings, make one file name of at most 255 bytes."""
MAX_SEED = 2**32 - 1
"""Largest seed that numpy and torch both take."""
MAX_NUMBER = MAX_SEED
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
"""What no name, label or prompt holds; tab and line feed are fine."""
MAX_STEP = 999_999
"""Largest training step: folders of checkpoints have six digits."""


class ConfigError(ValueError):
    """The config is wrong; the message names each key, its value and the remedy."""


def _printable(text: str) -> str:
    if control := CONTROL.search(text):
        raise ValueError(f"{text!r} holds the control character {control[0]!r}; remove it")
    return text


class Settings(BaseModel):
    """A section of the config. Unknown keys are refused so that a typo cannot silently mean a default."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False, strict=True)

    @field_validator("*", mode="after")
    @classmethod
    def _has_sense(cls, value: Any) -> Any:
        if isinstance(value, int | float) and abs(value) > MAX_NUMBER:
            raise ValueError(f"{value} is beyond {MAX_NUMBER}, more than anything here can count")
        return _printable(value) if isinstance(value, str) else value


def _different(values: list[Any]) -> list[Any]:
    if repeated := sorted({str(value) for value in values if values.count(value) > 1}):
        raise ValueError(f"{', '.join(repeated)} stands more than once; name each once")
    return values


def _inside(name: str) -> str:
    parts = name.split("/")
    if "\\" in name or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"{name!r} must be a relative path inside its asset, with '/' between its parts")
    return name


Names = Annotated[list[str], Field(min_length=1), AfterValidator(_different)]
"""Different names, at least one."""
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
Step = Annotated[int, Field(ge=0, le=MAX_STEP)]
Rate = Annotated[float, Field(gt=0, le=1)]
"""Learning rate."""
Label = Annotated[str, Field(min_length=1), AfterValidator(_printable)]
"""Name shown to people."""
FileName = Annotated[str, AfterValidator(_inside)]
"""File in an asset's folder."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint with the nearest known name, or with all of them when none is near."""
    names = list(known)
    if not names:
        return "; none is defined"
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(sorted(names))}"
