"""Which of our modules decide the numbers of a step: found by following its imports, without running anything."""

import ast
import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path

PACKAGE = "workflow_scripts"
NOT_NUMBERS = ("artifacts", "settings", "plan", "planning")
"""Packages whose edits do not change numbers: formats carry their own version, settings arrive as params."""


@functools.cache
def deciding_modules(root: Path, path: Path) -> frozenset[Path]:
    """The source at `path` and every module of ours that it imports, directly or not."""
    found, waiting = set(), [path]
    while waiting:
        source = waiting.pop()
        if source not in found:
            found.add(source)
            waiting.extend(_imports(root, source))
    return frozenset(found)


def digest(root: Path, paths: Iterable[Path]) -> str:
    """What the sources at `paths` say, as 16 hex digits of a SHA-256 over their names and contents."""
    whole = hashlib.sha256()
    for path in sorted(paths):
        whole.update(f"{path.relative_to(root).as_posix()} {_content(path)}\n".encode())
    return whole.hexdigest()[:16]


@functools.cache
def _content(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@functools.cache
def _imports(root: Path, path: Path) -> tuple[Path, ...]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            modules.add(node.module)
            modules.update(f"{node.module}.{alias.name}" for alias in node.names)
    files = []
    for module in modules:
        parts = module.split(".")
        if parts[0] != PACKAGE or len(parts) < 2 or parts[1] in NOT_NUMBERS:
            continue
        target = root.joinpath(*parts)
        for candidate in (target.with_suffix(".py"), target / "__init__.py"):
            if candidate.is_file():
                files.append(candidate)
    return tuple(files)
