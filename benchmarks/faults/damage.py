"""Ways to damage a file. Each is the same for the same file and seed."""

import ctypes
import gzip
import os
import random
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

Damage = tuple[str, Callable[[Path], None]]
"""Name, and what is done to the file."""
FLIPS = 12


def damages(path: Path, others: Sequence[Path] = (), seed: int = 0) -> Iterator[Damage]:
    """Every way for this file.

    Args:
        others: files of the same kind, of another checkpoint, subset or form, to put in its place.
    """
    content = path.read_bytes()
    for name, changed in _contents(content, random.Random(f"{seed}/{path.name}")):
        if changed != content:
            yield name, _writes(changed)
    for other in others:
        if other.read_bytes() != content:
            yield f"replaced by {other}", _writes(other.read_bytes())
    yield "removed", Path.unlink
    yield "a directory", _directory
    yield "a link to nothing", lambda path: _link(path, path.with_name("gone"))
    yield "a link to itself", lambda path: _link(path, path)
    yield "not readable", lambda path: path.chmod(0)
    yield "touched", lambda path: os.utime(path)


def _contents(content: bytes, rng: random.Random) -> Iterator[tuple[str, bytes]]:
    n = len(content)
    for share in (0, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99):
        yield f"cut to {share:.0%}", content[: int(share * n)]
    for less in (1, 2, 9):
        yield f"{less} bytes less", content[:-less]
    yield "first byte gone", content[1:]
    for name, more in (("a line feed", b"\n"), ("zeros", b"\0" * 100), ("itself", content), ("a line", b"more\n")):
        yield f"{name} at the end", content + more
    yield "byte order mark", b"\xef\xbb\xbf" + content
    yield "CRLF", content.replace(b"\n", b"\r\n")
    yield "a comma for each point", content.replace(b".", b",")
    yield "zeros", b"\0" * n
    yield "noise", rng.randbytes(n)
    yield "packed", gzip.compress(content, mtime=0)
    yield "a page", b"<html><body>404 Not Found</body></html>\n"
    for text in ("{}", "[]", "null", "x"):
        yield f"only {text}", text.encode()
    for place in sorted(rng.sample(range(8 * n), min(FLIPS, 8 * n))):
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        yield f"bit {place}", bytes(flipped)
    if n > 20:
        a, b = n // 3, n // 3 + n // 10 + 1
        yield "a tenth zeroed", content[:a] + b"\0" * (b - a) + content[b:]
        yield "a tenth missing", content[:a] + content[b:]
        yield "halves swapped", content[n // 2 :] + content[: n // 2]
        yield "not UTF-8", content[: n // 2] + b"\xff" + content[n // 2 + 1 :]
    yield "another version", re.sub(rb'(schema"?:? *"[a-z-]+/)\d', rb"\g<1>9", content, count=1)
    lines = content.split(b"\n")
    if len(lines) > 3:
        yield "a line missing", b"\n".join([*lines[:2], *lines[3:]])
        yield "a line twice", b"\n".join([*lines[:2], lines[1], *lines[2:]])
        yield "first line missing", b"\n".join(lines[1:])
        yield "lines swapped", b"\n".join([lines[0], lines[2], lines[1], *lines[3:]])
        cells = [line.split(b",") for line in lines]
        if len(cells[0]) > 1:
            yield "columns swapped", b"\n".join(b",".join([*line[1::-1], *line[2:]]) for line in cells)
    number = re.search(rb"(?<=[:,\[ ])\d+\.?\d*", content[n // 2 :])
    if number:
        start, end = n // 2 + number.start(), n // 2 + number.end()
        for name, value in (("not a number", b"NaN"), ("infinity", b"Infinity"), ("another number", b"7")):
            yield name, content[:start] + value + content[end:]


def _writes(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.unlink()  # it may be a hard link, as fetched files are
        path.write_bytes(content)

    return write


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _link(path: Path, target: Path) -> None:
    path.unlink()
    path.symlink_to(target)


def give_up_rights() -> None:
    """Lose root's right to read every file (CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH); nothing if not root."""
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()  # version 3, this process
    if libc.capget(header, sets) == 0:
        sets[0] &= ~0b110  # effective, bits 1 and 2
        libc.capset(header, sets)


def restore(folder: Path, pristine: Path, damaged: Sequence[Path] = ()) -> None:
    """Make `folder` equal to `pristine` again, by size and time of change; files in `damaged` in any case."""
    for path in damaged:
        _remove(folder / path)
    wanted = {path.relative_to(pristine) for path in pristine.rglob("*")}
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.relative_to(folder) not in wanted:
            _remove(path)
    for name in sorted(wanted):
        source, target = pristine / name, folder / name
        if source.is_dir():
            target.mkdir(exist_ok=True)
        elif not (target.is_file() and _facts(target) == _facts(source)):
            _remove(target)
            shutil.copy2(source, target)


def _facts(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_mode


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
