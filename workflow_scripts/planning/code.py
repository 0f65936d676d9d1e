"""Which of our modules decide the numbers of a step: found by following its imports, without running anything."""

import ast
import functools
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
