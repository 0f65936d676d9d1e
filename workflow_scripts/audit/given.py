"""One answer as another program recorded it, whatever its format."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class AuditError(ValueError):
    """Files that cannot be audited; the message names the file, the line and the field, and the remedy."""


@dataclass(frozen=True)
class GivenAnswer:
    """One answer with what its file says about the question.

    Attributes:
        path, line: where it stands; lines count from 1, headers included.
        subset: name of the benchmark's subset; "" where neither the row nor the file's name says.
        keys: values of `id`, `hash` and `text` by which the forms are joined; absent where the file has none.
        answer: the model's text.
        prompt: the written question; "" where the file does not hold it.
        reference: right letter or accepted answers; options: texts of A, B, ...; instructions: IFEval's.
        scorer: our scorer of the question, where the file names it.
        group: skill, domain or region, where the file names one.
        finish_reason: as recorded, "" where it was not.
        recorded: scores that the program itself wrote for this answer, by name.
        failed: why the program has no answer (an error is not a wrong answer); "" for an answer.
    """

    path: Path
    line: int
    subset: str
    keys: Mapping[str, str]
    answer: str
    prompt: str = ""
    reference: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    instructions: tuple[Mapping[str, Any], ...] = ()
    scorer: str = ""
    group: str = ""
    finish_reason: str = ""
    recorded: Mapping[str, float] = field(default_factory=dict)
    failed: str = ""

    @property
    def place(self) -> str:
        """`file, line n` for messages."""
        return f"{self.path}, line {self.line}"
