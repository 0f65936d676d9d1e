"""A raw row as a question, before the filters, and what readers of rows share."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Candidate:
    """One raw row as a question, before the filters.

    row: number in the raw file, from 1. core: the text that makes it this question (without options or fixed phrases).
    reason: why the layout itself rules it out, or empty.
    id: the row's own id, or empty. audio: path or parquet cell of a recording; such a prompt is spoken as it stands,
    and no filter of texts applies. spoken: how a voice is to read the prompt, or empty.
    skill, speaker, split: as the row says.
    """

    row: int
    prompt: str
    core: str
    reference: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    instructions: list[dict[str, Any]] = field(default_factory=list)
    reason: str = ""
    id: str = ""
    audio: str | dict[str, Any] | None = None
    spoken: str = ""
    skill: str = ""
    speaker: str = ""
    split: str = ""


class RowError(ValueError):
    """What is wrong with one row; the caller adds file and row."""


def text_of(row: dict[str, Any], name: str) -> str:
    """A non-empty, trimmed text field of a row.

    Raises:
        RowError: missing, not a text, or empty.
    """
    if name not in row:
        raise RowError(f"no field {name!r} (it has {sorted(row)})")
    if not isinstance(row[name], str):
        raise RowError(f"field {name!r} is {type(row[name]).__name__}, expected text")
    if not row[name].strip():
        raise RowError(f"question with empty text (field {name!r})")
    return row[name].strip()


def ifeval_instructions(row: dict[str, Any]) -> list[dict[str, Any]]:
    """IFEval's instructions of a row as `{"id", "kwargs"}`, without the arguments that are None.

    Raises:
        RowError: the two lists are missing, empty or of different lengths.
    """
    names, arguments = row.get("instruction_id_list"), row.get("kwargs")
    if not isinstance(names, list) or not isinstance(arguments, list) or len(names) != len(arguments) or not names:
        raise RowError("instruction_id_list and kwargs must be non-empty lists of equal length")
    return [
        {"id": name, "kwargs": {key: value for key, value in (given or {}).items() if value is not None}}
        for name, given in zip(names, arguments)
    ]
