"""Writing files so that a name only ever appears with complete content, and hashing them."""

import contextlib
import hashlib
import logging
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from workflow_scripts.artifacts.asset_record import FileRecord
from workflow_scripts.artifacts.checksums import checksum
from workflow_scripts.artifacts.files import is_disk_full
from workflow_scripts.assets.errors import AssetError, DiskFullError

logger = logging.getLogger(__name__)

BLOCK = 1 << 20
"""Bytes read at a time."""


def describe(path: Path) -> FileRecord:
    """Hash and size of a file; noted, so that steps that read it need not hash it again."""
    return FileRecord(sha256=checksum(path, whole=True), size=path.stat().st_size)


def part_path(path: Path) -> Path:
    """The temporary name beside `path` under which its content grows."""
    return path.with_name(path.name + ".part")


def write_part(path: Path, blocks: Iterable[bytes]) -> str:
    """Write blocks to the temporary name of `path`, flushed to disk. Returns the SHA-256 of the content."""
    digest = hashlib.sha256()
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(part_path(path), "wb") as out:
        for block in blocks:
            digest.update(block)
            out.write(block)
        out.flush()
        os.fsync(out.fileno())
    return digest.hexdigest()


def place(source: Path, target: Path) -> None:
    """Make `target` the same file as `source`: a hard link, or a copy where links are not possible."""
    target.parent.mkdir(parents=True, exist_ok=True)
    source, part = source.resolve(), part_path(target)
    if target.exists() and target.samefile(source):
        return
    part.unlink(missing_ok=True)
    try:
        os.link(source, part)
    except OSError:
        # Another file system, or one without hard links.
        shutil.copyfile(source, part)
    os.replace(part, target)


def move(source: Path, target: Path) -> None:
    """Give a file another place, in the stead of what is there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():
        shutil.rmtree(target)
    # Renaming one hard link of a file onto another does nothing at all, so the old name is removed first.
    target.unlink(missing_ok=True)
    os.replace(source, target)


def keep_only(folder: Path, kept: set[str]) -> None:
    """Remove all but these files from a folder: weights of an earlier version must not be loaded."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.relative_to(folder).as_posix() not in kept:
            logger.info("removing %s, which is no part of the asset", path)
            path.unlink()


@contextlib.contextmanager
def disk_full_explained(folder: Path, needed: int | None = None) -> Iterator[None]:
    """Turn "no space left" into an error that says how many bytes are free and, where known, are needed."""
    try:
        yield
    except Exception as error:
        if isinstance(error, AssetError) or not is_disk_full(error):
            raise
        raise DiskFullError(disk_full_message(folder, needed)) from error


def disk_full_message(folder: Path, needed: int | None = None) -> str:
    """Free and needed bytes at the nearest existing folder, with the remedy."""
    while not folder.exists():
        folder = folder.parent
    need = f", at least {needed:,} bytes are needed" if needed is not None else ""
    free = shutil.disk_usage(folder).free
    return (
        f"the disk (or quota) is full at {folder}: {free:,} bytes free{need}; "
        "free some space and start again, what is already fetched is kept"
    )
