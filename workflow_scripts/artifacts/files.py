"""Atomic writing, checksums and file errors that name the file and the remedy."""

import contextlib
import errno
import glob
import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HOST = platform.node().replace(".", "-") or "host"
DAY = 24 * 3600
"""Seconds."""


class ArtifactError(ValueError):
    """A file is missing, truncated, of another version or holds what it must not; the message says what to do."""


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Full disk, used-up quota, file-size limit."""
NEARLY_FULL = 1 << 20
"""Free bytes below which a failed write counts as a full disk, whatever the library says."""


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an error, or one that it was raised from, says that there is no room.

    Native libraries (HDF5, safetensors) and other programs say so in the text only.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            return True
        if any(os.strerror(code) in str(error) for code in _NO_ROOM):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextlib.contextmanager
def disk_full_named(path: Path) -> Iterator[None]:
    """Turn the many errors of a full disk into one that names `path` and the free space.

    torch reports a failed write without its cause, so an error while almost nothing is free counts too.

    Raises:
        ArtifactError: the disk is full.
    """
    try:
        yield
    except ArtifactError:
        raise
    except Exception as error:
        folder = next(folder for folder in (Path(path), *Path(path).absolute().parents) if folder.is_dir())
        free = shutil.disk_usage(folder).free
        if is_disk_full(error) or free < NEARLY_FULL:
            raise ArtifactError(
                f"{path}: the disk is full ({free / 1e6:.0f} MB free); free some space, or raise the quota or "
                "file-size limit, and run again; finished files are kept"
            ) from error
        raise


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success flush it and rename it onto `path`, else remove it.

    What earlier writers of `path` left when they were killed is removed first.

    Raises:
        ArtifactError: the disk is full; names the file and the free space.
    """
    path = Path(path)
    remove_abandoned(path.parent, path.name)
    with one_of_many(path) as temporary:
        yield temporary


@contextlib.contextmanager
def one_of_many(path: Path) -> Iterator[Path]:
    """As `atomic_path`, for a file among thousands in one folder: what earlier writers left stays until
    `remove_abandoned`, as looking for it lists the whole folder for every file.

    Raises:
        ArtifactError: the disk is full; names the file and the free space.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{HOST}.{os.getpid()}.part")
    try:
        with disk_full_named(path):
            yield temporary
            with open(temporary, "rb+") as written:
                os.fsync(written.fileno())
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_abandoned(folder: Path, name: str | None = None) -> None:
    """Remove what killed writers of a file, or of any file of a folder, left."""
    for part in folder.glob(".*.part" if name is None else f".{glob.escape(name)}.*.part"):
        if _is_abandoned(part):
            part.unlink(missing_ok=True)


def _is_abandoned(part: Path) -> bool:
    """Whether the writer of a temporary file is dead, or has not written for a day: the only sign from another machine,
    or once its number is another process's."""
    *_, host, process, _ = part.name.rsplit(".", 3)
    try:
        if time.time() - part.stat().st_mtime > DAY:
            return True
        if host == HOST:
            os.kill(int(process), 0)
    except (ProcessLookupError, FileNotFoundError):
        return True
    except (PermissionError, ValueError):
        return False
    return False


def read_text(path: Path, made_by: str) -> str:
    """Text of a UTF-8 file.

    Raises:
        ArtifactError: it is missing, cannot be read (a directory, no permission) or is not UTF-8; names the file, and
            what makes it.
    """
    try:
        return Path(path).read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise ArtifactError(f"{path}: not found; it is written by {made_by}, run that first") from None
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror}); it is written by {made_by}") from None
    except UnicodeDecodeError as error:
        raise ArtifactError(
            f"{path}: damaged, byte {error.start} is not UTF-8; delete it and run again ({made_by})"
        ) from None


def read_json(path: Path, made_by: str) -> Any:
    """Content of a JSON file; errors as in `read_text`, also where it is cut off or not JSON."""
    try:
        return json.loads(read_text(path, made_by))
    except json.JSONDecodeError as error:
        raise ArtifactError(f"{path}: damaged ({error}); delete it and run again ({made_by})") from None


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with open(path, "rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def sha256_text(text: str) -> str:
    """SHA-256 of a text's UTF-8 bytes, in hex."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def require(path: Path, made_by: str) -> Path:
    """`path` if it exists, else an error that says which step makes it."""
    if not Path(path).exists():
        raise ArtifactError(f"{path}: not found; it is written by {made_by}, run that first")
    return Path(path)
