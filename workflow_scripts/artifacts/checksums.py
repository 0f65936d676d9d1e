"""Checksums of files: what a step wrote, or a record lists, is checked before another step uses it.

`run_step` notes every output of a step and checks every input of the next; an asset's files are checked against its
record, a checkpoint's weights against checkpoints.json. A file is hashed once; after that its size and time of change
are compared. Notes lie in `.checksums` of the top folder: results/.checksums/evaluation/gap.csv.json. A file without
a note, such as one that was brought from elsewhere, is taken as it is.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.asset_record import RECORD_NAME, read_asset_record
from workflow_scripts.artifacts.files import ArtifactError, sha256_file, write_text

END = 1 << 20


def note_outputs(paths: Iterable[str | Path]) -> None:
    """Note the content of files that a step has just written."""
    for path in map(Path, paths):
        if path.is_file():
            _write_note(path, {"written": checksum(path)})


def forget_outputs(paths: Iterable[str | Path]) -> None:
    """Remove the notes of files that are about to be written again."""
    for path in paths:
        if (note := _note_path(Path(path))) is not None:
            note.unlink(missing_ok=True)


def check_inputs(paths: Iterable[str | Path]) -> None:
    """Check files that a step is about to read; for asset.json, also the files that it lists.

    Raises:
        ArtifactError: a file is not what the step before wrote, or what the record says; names the file.
    """
    for path in map(Path, paths):
        if not path.is_file():
            continue
        written = _read_note(path).get("written")
        if written is not None and checksum(path) != written:
            raise ArtifactError(
                f"{path}: changed or replaced since the workflow wrote it; delete it and run again (to keep it as it "
                f"is, delete {_note_path(path)})"
            )
        if path.name == RECORD_NAME:
            for name, file in read_asset_record(path).files.items():
                check_recorded(path.parent / name, file.sha256, path)


def check_recorded(path: Path, sha256: str, record: Path) -> None:
    """Check a file against the SHA-256 that a record has of it.

    Raises:
        ArtifactError: it has another; names both files.
    """
    if checksum(path, whole=True) != sha256:
        raise ArtifactError(f"{path}: not the file that {record} lists (another SHA-256); delete both and run again")


def checksum(path: Path, *, whole: bool = False) -> str:
    """SHA-256 of a file, in hex, computed again only if its size or time of change differ from the last time.

    HDF5 files have checksums inside (artifacts.hdf5): unless `whole`, theirs is of their size, first and last MiB.
    """
    facts = Path(path).stat()
    seen = {"size": facts.st_size, "changed": facts.st_mtime_ns, "whole": whole or path.suffix != ".h5"}
    note = _read_note(path)
    if "checksum" in note and all(note.get(name) == value for name, value in seen.items()):
        return note["checksum"]
    value = sha256_file(path) if seen["whole"] else _ends(path, facts.st_size)
    _write_note(path, note | seen | {"checksum": value})
    return value


def _ends(path: Path, size: int) -> str:
    digest = hashlib.sha256(str(size).encode())
    with open(path, "rb") as file:
        digest.update(file.read(END))
        file.seek(max(size - END, 0))
        digest.update(file.read(END))
    return digest.hexdigest()


def _note_path(path: Path) -> Path | None:
    """Where the note of a file lies; None for files outside the working directory, of which no notes are kept."""
    top, *rest = Path(os.path.relpath(path)).parts
    return None if top == ".." or not rest else Path(top, ".checksums", *rest[:-1], rest[-1] + ".json")


def _read_note(path: Path) -> dict[str, Any]:
    """The note of a file; empty if there is none that can be read."""
    if (note := _note_path(path)) is not None:
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(note.read_text(encoding="utf-8"))
            return found if isinstance(found, dict) else {}
    return {}


def _write_note(path: Path, facts: dict[str, Any]) -> None:
    """Add facts to the note of a file; a folder that cannot be written to keeps none."""
    if (note := _note_path(path)) is not None:
        with contextlib.suppress(PermissionError):
            write_text(note, json.dumps(_read_note(path) | facts) + "\n")
