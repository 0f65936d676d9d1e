"""Samples of a WebDataset: in a tar shard, neighbouring members `<key>.flac`, `<key>.json` and `<key>.txt` are one.

The shard is read where it lies and nothing is unpacked, so that no name inside it ever becomes a path.
"""

import itertools
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from workflow_scripts.artifacts.files import ArtifactError

AUDIO_ENDINGS = ("flac", "wav", "ogg", "opus", "mp3", "aiff", "aif", "au", "caf", "w64")
MAX_TEXT_BYTES = 1_000_000
"""Of a .json or .txt member."""


def tar_rows(path: Path) -> Iterator[dict[str, Any]]:
    """One row a sample: the fields of its .json, `text` of its .txt, `id` (else its key), and where its audio lies.

    `audio` is `{"file", "offset", "size"}` for `read_member`, or None.

    Raises:
        ArtifactError: no uncompressed tar, cut off or damaged anywhere, a member that is no plain file, or text that
            cannot be read; names shard and member.
    """
    try:
        with tarfile.open(path, "r:") as archive:
            for key, sample in itertools.groupby(_members(path, archive), lambda member: _split(member.name)[0]):
                yield _row(path, archive, key, list(sample))
            _check_end(path, archive.offset)
    except ArtifactError:
        raise
    except (tarfile.TarError, OSError, ValueError) as error:
        raise ArtifactError(f"{path}: no readable tar file without compression ({error}); fetch it again") from None


def read_member(path: Path, offset: int, size: int) -> bytes:
    """The bytes of a member.

    Raises:
        ArtifactError: the shard is gone or shorter.
    """
    try:
        with open(path, "rb") as shard:
            shard.seek(offset)
            found = shard.read(size)
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror}); fetch it again") from None
    if len(found) < size:
        raise ArtifactError(f"{path}: ends before byte {offset + size}: cut off or exchanged; fetch it again")
    return found


def _members(path: Path, archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Members that are no folders, without the `._name` files that macOS adds."""
    for member in archive:
        if member.size < 0:
            raise ArtifactError(f"{path}: member {member.name!r} has {member.size} bytes; make the shard again")
        if not member.isdir() and not PurePosixPath(member.name).name.startswith("._"):
            yield member


def _check_end(path: Path, offset: int) -> None:
    """Behind the last member stand zeros, and nothing else: tarfile takes whatever it cannot read for the end."""
    with open(path, "rb") as shard:
        shard.seek(offset)
        found = shard.read(tarfile.BLOCKSIZE)
        if len(found) < tarfile.BLOCKSIZE or any(found) or any(map(any, iter(lambda: shard.read(1 << 20), b""))):
            raise ArtifactError(
                f"{path}: cut off or damaged at byte {offset}, where a member or the end should be; fetch it again"
            )


def _split(name: str) -> tuple[str, str]:
    """Key and last ending of a member: the key ends at the first point of the name behind the folders."""
    path = PurePosixPath(name)
    stem, _, ending = path.name.partition(".")
    return str(path.parent / stem), ending.rpartition(".")[2].lower()


def _row(path: Path, archive: tarfile.TarFile, key: str, sample: list[tarfile.TarInfo]) -> dict[str, Any]:
    texts: dict[str, tarfile.TarInfo] = {}
    audio = None
    for member in sample:
        if not member.isreg() or member.issparse():
            raise ArtifactError(f"{path}: member {member.name!r} is no plain file; make the shard of plain files only")
        ending = _split(member.name)[1]
        if ending in AUDIO_ENDINGS:
            if audio is not None:
                raise ArtifactError(f"{path}: sample {key!r} has two recordings; give each a key of its own")
            audio = {"file": path.name, "offset": member.offset_data, "size": member.size}
        elif ending in ("txt", "json"):
            if ending in texts:
                raise ArtifactError(f"{path}: sample {key!r} has two .{ending} members; give each a key of its own")
            texts[ending] = member
    fields = {"id": PurePosixPath(key).name}
    if "json" in texts:
        fields |= {name: value for name, value in _fields(path, archive, texts["json"]).items() if value is not None}
    if "txt" in texts:
        fields["text"] = _text(path, archive, texts["txt"]).strip()
    return fields | {"audio": audio}


def _text(path: Path, archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    if member.size > MAX_TEXT_BYTES:
        raise ArtifactError(f"{path}: member {member.name!r} has {member.size} bytes, text at most {MAX_TEXT_BYTES}")
    try:
        return archive.extractfile(member).read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{path}: member {member.name!r} is not UTF-8 text ({error.reason})") from None


def _fields(path: Path, archive: tarfile.TarFile, member: tarfile.TarInfo) -> dict[str, Any]:
    try:
        found = json.loads(_text(path, archive, member))
    except (RecursionError, ValueError) as error:
        if isinstance(error, ArtifactError):
            raise
        raise ArtifactError(f"{path}: member {member.name!r} is not JSON ({error})") from None
    if not isinstance(found, dict):
        raise ArtifactError(f"{path}: member {member.name!r} is {type(found).__name__} instead of an object {{...}}")
    return found
