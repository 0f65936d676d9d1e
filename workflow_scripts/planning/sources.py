"""The modules of the package as they are written, read once: a file remembers between runs what was read."""

import hashlib
import json
import os
import sys
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from workflow_scripts.planning.definitions import read_source
from workflow_scripts.planning.forms import PACKAGE, Source


class Sources:
    """The modules below a folder, by their dotted names.

    Args:
        root: folder that holds the package.
        cache: file that remembers what modules say, by their content; None for none.
    """

    def __init__(self, root: Path, cache: Path | None = None):
        self.root, self.cache = root, cache
        self._sources: dict[str, Source | None] = {}

    def get(self, module: str) -> Source | None:
        """What a module says; None if it is none of ours."""
        if module not in self._sources:
            known = self._modules.get(module)
            self._sources[module] = Source.of(known["source"]) if known else None
        return self._sources[module]

    @cached_property
    def _modules(self) -> dict[str, Any]:
        """By module, the hash of its text and what it says, as plain values. Raises SyntaxError, with the file."""
        readers = sorted(Path(__file__).parent.glob("*.py"))
        version = hashed(str(sys.version_info[:2]), *(file.read_text(encoding="utf-8") for file in readers))
        try:
            content = json.loads(self.cache.read_text(encoding="utf-8")) if self.cache is not None else {}
        except (OSError, ValueError):
            content = {}
        before = content["modules"] if content.get("version") == version else {}
        modules = {}
        for path in sorted((self.root / PACKAGE).rglob("*.py")):
            parts = path.relative_to(self.root).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            module = ".".join(parts[:-1] if is_package else parts)
            text = path.read_text(encoding="utf-8")
            modules[module] = before.get(module)
            if modules[module] is None or modules[module]["hash"] != hashed(text):
                source = read_source(text, module, is_package, path)
                modules[module] = {"hash": hashed(text), "source": asdict(source)}
        if modules != before:
            self._remember({"version": version, "modules": modules})
        return modules

    def _remember(self, content: dict[str, Any]) -> None:
        if self.cache is None:
            return
        temporary = self.cache.with_suffix(f".{os.getpid()}")
        try:
            self.cache.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(content), encoding="utf-8")
            os.replace(temporary, self.cache)
        except OSError:  # a folder that cannot be written to: the modules are read again next time
            return


def hashed(*texts: str) -> str:
    """16 hex digits of the SHA-256 of some texts."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
