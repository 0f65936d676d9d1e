"""Rows of published data sets and of questions of your own, with where their audio lies.

Parquet files and tar shards (`artifacts.webdataset`) keep their audio inside: a row then carries a reference to it,
and `audio_cell` reads that one later. In JSON lines and CSV the field `audio` is a path, relative to the file's folder.
"""

import csv
import fnmatch
import functools
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.webdataset import read_member, tar_rows

AUDIO = "audio"
"""Column of the audio."""

Row = dict[str, Any]
_HALF_A_CHARACTER = re.compile(r"[\ud800-\udfff]")


def matching_files(path: Path) -> list[Path]:
    """The file at `path`, or the files of its folder that its name matches as a pattern (`usa-*.parquet`), sorted.

    Raises:
        ArtifactError: there is none; names what the folder holds.
    """
    path = Path(path)
    if path.is_file():
        return [path]
    beside = sorted(one for one in path.parent.glob("*") if one.is_file()) if path.parent.is_dir() else []
    if found := [one for one in beside if fnmatch.fnmatchcase(one.name, path.name)]:
        return found
    held = ", ".join(one.name for one in beside[:20]) or "no files"
    if not path.parent.is_dir():
        above = sorted(one.name for one in path.parent.parent.glob("*")) if path.parent.parent.is_dir() else []
        held = f"no such folder; beside it are {', '.join(above[:20]) or 'none'}"
    raise ArtifactError(f"{path}: nothing there; {path.parent} has {held}. Check `file` of the subset")


def dataset_rows(path: Path) -> Iterator[tuple[int, Row]]:
    """(number, fields) of every row of the file or pattern; rows are counted from 1 over all files in name order.

    `audio` is None, a path (text) or a reference for `audio_cell`; `source_file` is the file's name.

    Raises:
        ArtifactError: no such file, another format, or damage; names file and line.
    """
    number = 0
    for file in matching_files(path):
        reader = READERS.get(file.suffix.lower())
        if reader is None:
            raise ArtifactError(f"{file}: rows are read from {', '.join(READERS)} files, not from {file.suffix!r}")
        for row in reader(file):
            number += 1
            yield number, row | {"source_file": file.name}


def cell_text(value: Any) -> str:
    """A cell as trimmed text; "" if it holds none: null, NaN or infinity, bytes, a list or an object.

    A column of whole numbers becomes one of floats where a value is missing: they are written as integers.
    """
    is_float = isinstance(value, float)
    if value is None or isinstance(value, list | dict | bytes) or (is_float and not math.isfinite(value)):
        return ""
    return str(int(value) if is_float and value.is_integer() else value).strip()


def has_half_a_character(cell: Any) -> bool:
    """Whether a text in the cell, however deep, is no UTF-8: JSON may hold one half of a surrogate pair."""
    return _HALF_A_CHARACTER.search(json.dumps(cell, ensure_ascii=False, default=str)) is not None


def audio_cell(folder: Path, reference: dict[str, Any]) -> Any:
    """The audio of one row as stored: `{"bytes", "path"}`, bytes, a path, or `{"array", "sampling_rate"}`.

    Args:
        folder: where the file lies. reference: `{"file", "row"}` or `{"file", "offset", "size"}`, as `dataset_rows`
            gives it.

    Raises:
        ArtifactError: the file or the row is not there any more.
    """
    path = Path(folder) / reference["file"]
    if "offset" in reference:
        return read_member(path, reference["offset"], reference["size"])
    row = reference["row"]
    _, starts = _opened(path)
    group = next((place for place, start in enumerate(starts) if start > row), len(starts)) - 1
    cells = _audio_of_group(path, group)
    if not 0 <= row - starts[group] < len(cells):
        raise ArtifactError(f"{path}: has no row {row}; build the questions again")
    return cells[row - starts[group]].as_py()


def _json_rows(path: Path) -> Iterator[Row]:
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (RecursionError, ValueError) as error:
            raise ArtifactError(f"{path}, line {number}: not JSON ({error})") from None
        if not isinstance(row, dict):
            raise ArtifactError(f"{path}, line {number}: {type(row).__name__} instead of an object {{...}}")
        yield row


def _csv_rows(path: Path) -> Iterator[Row]:
    reader = csv.reader(_text(path).splitlines(keepends=True))
    heading = next(reader, [])
    if len(set(heading)) < len(heading):
        raise ArtifactError(f"{path}, line 1: a heading appears twice: {heading}")
    for cells in reader:
        if cells and len(cells) != len(heading):
            raise ArtifactError(f"{path}, line {reader.line_num}: {len(cells)} cells under {len(heading)} headings")
        if cells:
            yield {name: cell if cell else None for name, cell in zip(heading, cells)}


def _parquet_rows(path: Path) -> Iterator[Row]:
    import pyarrow as pa  # 0.2 s: only for those who have parquet files

    file, _ = _opened(path)
    schema = file.schema_arrow
    columns = [name for name in schema.names if name != AUDIO]
    has_audio = AUDIO in schema.names
    # The path alone says whether a row has audio; the sound itself is not read for that.
    light = has_audio and pa.types.is_struct(schema.field(AUDIO).type) and "path" in _fields(schema.field(AUDIO).type)
    marker = [f"{AUDIO}.path"] if light else [AUDIO] if has_audio else []
    row = 0
    for group in range(file.num_row_groups):
        table = file.read_row_group(group, columns=columns + marker)
        rows = table.select(columns).to_pylist() if columns else [{} for _ in range(table.num_rows)]
        valid = table.column(AUDIO).is_valid().to_pylist() if has_audio else [False] * table.num_rows
        for values, heard in zip(rows, valid):
            yield values | {AUDIO: {"file": path.name, "row": row} if heard else None}
            row += 1


def _fields(kind: Any) -> list[str]:
    return [kind.field(place).name for place in range(kind.num_fields)]


@functools.lru_cache(maxsize=64)
def _opened(path: Path) -> tuple[Any, list[int]]:
    """The open parquet file and the first row of each row group."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise ArtifactError(f"{path}: no readable parquet file ({error}); fetch the asset again") from None
    starts = [0]
    for group in range(file.num_row_groups - 1):
        starts.append(starts[-1] + file.metadata.row_group(group).num_rows)
    return file, starts


@functools.lru_cache(maxsize=2)
def _audio_of_group(path: Path, group: int) -> Any:
    return _opened(path)[0].read_row_group(group, columns=[AUDIO]).column(AUDIO)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from None
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror})") from None


READERS = {".parquet": _parquet_rows, ".jsonl": _json_rows, ".csv": _csv_rows, ".tar": tar_rows}
"""Readers by suffix."""
