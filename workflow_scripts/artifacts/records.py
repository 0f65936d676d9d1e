"""JSON-lines files of typed records under one header line.

Line 1 is `{"schema": "<name>/<version>", "n": ..., "provenance": {...}}`, then one record a line. The count makes a
truncated file detectable; a wrong version is an error that says what to do.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from workflow_scripts.artifacts.files import ArtifactError, atomic_path, read_text


class Record(BaseModel):
    """Base of one line: unknown fields are errors, floats must be finite unless a field says otherwise."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class RecordFile(Generic[R]):
    """Reader and writer of one JSON-lines format.

    Attributes:
        schema: name and version, as `questions/1`.
        record: the type of a line.
        unique: field that must not repeat within a file, or None.
    """

    schema: str
    record: type[R]
    unique: str | None = "id"

    def write(self, path: Path, records: Iterable[R], provenance: dict[str, Any]) -> None:
        """Write atomically; refuses duplicate ids."""
        records = list(records)
        self._check_unique(path, records)
        header = {"schema": self.schema, "n": len(records), "provenance": provenance}
        with atomic_path(Path(path)) as temporary, open(temporary, "w", encoding="utf-8") as out:
            out.write(json.dumps(header, ensure_ascii=False) + "\n")
            for record in records:
                out.write(record.model_dump_json() + "\n")

    def read(self, path: Path) -> list[R]:
        """All records.

        Raises:
            ArtifactError: missing, truncated, wrong version, or a bad field; names file, line, field and remedy.
        """
        return self.read_with_header(path)[0]

    def read_with_header(self, path: Path) -> tuple[list[R], dict[str, Any]]:
        """Records and the header."""
        path = Path(path)
        # Not splitlines(): it also splits at U+2028 and its kin, which may stand inside a JSON string.
        lines = read_text(path, f"the step for {self.schema} files").removesuffix("\n").split("\n")
        header = self._header(path, lines)
        records = [self._parse(path, number, line) for number, line in enumerate(lines[1:], start=2)]
        if len(records) != header["n"]:
            raise ArtifactError(
                f"{path}: {len(records)} records but the header says {header['n']}: truncated; delete it and run again"
            )
        self._check_unique(path, records)
        return records, header

    def _header(self, path: Path, lines: list[str]) -> dict[str, Any]:
        try:
            header = json.loads(lines[0])
            found, _ = header["schema"], header["n"]
        except (IndexError, KeyError, TypeError, json.JSONDecodeError):
            raise ArtifactError(f"{path}: no header line of schema {self.schema}; delete it and run again") from None
        if found != self.schema:
            raise ArtifactError(f"{path}: schema {found!r}, expected {self.schema!r}; delete it and run again")
        return header

    def _parse(self, path: Path, number: int, line: str) -> R:
        try:
            return self.record.model_validate_json(line)
        except ValidationError as error:
            problem = error.errors()[0]
            field = ".".join(str(part) for part in problem["loc"]) or "(line)"
            raise ArtifactError(
                f"{path}, line {number}, field {field}: {problem['msg']}; delete the file and run again"
            ) from None

    def _check_unique(self, path: Path, records: list[R]) -> None:
        if self.unique is None:
            return
        seen: set[Any] = set()
        for record in records:
            key = getattr(record, self.unique)
            if key in seen:
                raise ArtifactError(f"{path}: {self.unique} {key!r} appears twice; ids must be unique")
            seen.add(key)
