"""Rows of JSON-lines and CSV files with their line numbers, and typed looks into them whose errors name the field."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from workflow_scripts.audit.given import AuditError

Row = Mapping[str, Any]


def json_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line from 1, object) of a JSON-lines file; blank lines and a header line `{"schema": ...}` are skipped.

    Raises:
        AuditError: not found, not UTF-8, or a line that is no JSON object, as where a file was cut off.
    """
    lines = _text(path).split("\n")
    last = max((number for number, line in enumerate(lines, start=1) if line.strip()), default=0)
    if not last:
        raise AuditError(f"{path}: empty file; give the file that the harness wrote for each sample")
    for number, line in enumerate(lines[:last], start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            cut = number == last and number > 1
            reason = "the file was cut off in the middle; copy it again" if cut else "the file is no JSON lines"
            raise AuditError(
                f"{path}, line {number}: not JSON ({error.msg} at column {error.colno}): {reason}"
            ) from None
        if not isinstance(row, dict):
            raise AuditError(f"{path}, line {number}: {type(row).__name__} instead of an object {{...}}")
        if number == 1 and "schema" in row and "n" in row:
            _check_count(path, row["n"], lines[1:last])
            continue
        yield number, row


def csv_rows(path: Path, needed: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """(line from 1, cells by heading) of a CSV file; a row of several lines has the number of its last.

    Raises:
        AuditError: not found, a needed column is missing, or a row has another number of cells.
    """
    reader = csv.reader(_text(path).splitlines(keepends=True))
    heading = next(reader, [])
    if missing := [name for name in needed if name not in heading]:
        raise AuditError(f"{path}, line 1, field {missing[0]!r}: no such column; the file has {heading[:12]}")
    for cells in reader:
        if not cells:
            continue
        if len(cells) != len(heading):
            raise AuditError(
                f"{path}, line {reader.line_num}: {len(cells)} cells under {len(heading)} headings; the file was cut "
                "off or joined from two versions"
            )
        yield reader.line_num, dict(zip(heading, cells))


def text_field(row: Row, names: Sequence[str], place: str) -> str:
    """The first of the fields that the row has, as text.

    Raises:
        AuditError: none of them is there, or it holds no text.
    """
    for name in names:
        if name in row:
            value = row[name]
            if isinstance(value, str):
                return value
            raise AuditError(f"{place}, field {name!r}: {type(value).__name__} {str(value)[:60]!r}, expected text")
    raise AuditError(
        f"{place}, field {names[0]!r}: missing (the line has {sorted(row)[:14]}); is it a file of this harness and of "
        "one version?"
    )


def optional_text(row: Row, names: Sequence[str]) -> str:
    """The first of the fields that holds a text or a number, as text; "" without one."""
    for name in names:
        value = row.get(name)
        if isinstance(value, str) and value.strip():
            return value.strip()
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
    return ""


def texts(row: Row, names: Sequence[str], place: str) -> tuple[str, ...]:
    """A text or a list of texts of the first field there is; () without one.

    Raises:
        AuditError: the field holds something else.
    """
    for name in names:
        value = row.get(name)
        if value is None or value == "":
            continue
        values = [value] if isinstance(value, str | int | float) else value
        if not isinstance(values, list) or not all(isinstance(one, str | int | float) for one in values):
            raise AuditError(f"{place}, field {name!r}: {str(value)[:60]!r} is neither a text nor a list of texts")
        return tuple(str(one) for one in values)
    return ()


def instructions(row: Row, place: str) -> tuple[Mapping[str, Any], ...]:
    """IFEval's instructions: our `instructions`, or VoiceBench's `instruction_id_list` with None-padded `kwargs`.

    Raises:
        AuditError: a list is missing, or the two differ in length.
    """
    own, ids, given = row.get("instructions"), row.get("instruction_id_list"), row.get("kwargs")
    if own:
        if not isinstance(own, list) or not all(isinstance(one, dict) and "id" in one for one in own):
            raise AuditError(f"{place}, field 'instructions': expected a list of {{id, kwargs}}, got {str(own)[:60]!r}")
        return tuple(own)
    if ids is None:
        return ()
    if not isinstance(ids, list) or not isinstance(given, list) or len(ids) != len(given):
        raise AuditError(f"{place}, field 'instruction_id_list': needs a list `kwargs` of the same length beside it")
    return tuple(
        {"id": name, "kwargs": {key: value for key, value in (kwargs or {}).items() if value is not None}}
        for name, kwargs in zip(ids, given)
    )


def _check_count(path: Path, count: Any, lines: Sequence[str]) -> None:
    found = sum(bool(line.strip()) for line in lines)
    if found != count:
        raise AuditError(f"{path}, line 1, field 'n': {count} records announced, {found} in the file; it was cut off")


def _text(path: Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise AuditError(f"{path}: not found") from None
    except IsADirectoryError:
        raise AuditError(f"{path}: a folder; give the file of the single answers in it") from None
    except UnicodeDecodeError as error:
        raise AuditError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from None
