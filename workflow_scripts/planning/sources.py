"""The modules of the package as they are written, read once: files remember between runs what was read, and what was
made of it."""

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
    def digests(self) -> "Remembered":
        """What was made of the modules, for as long as none of them changes."""
        texts = [f"{path}\n{text}" for path, text in self._texts.items()]
        path = None if self.cache is None else self.cache.with_name("digests.json")
        return Remembered(path, hashed(self._version, *texts))

    @cached_property
    def _version(self) -> str:
        """Of Python and of what reads the sources."""
        readers = sorted(Path(__file__).parent.glob("*.py"))
        return hashed(str(sys.version_info[:2]), *(file.read_text(encoding="utf-8") for file in readers))

    @cached_property
    def _texts(self) -> dict[Path, str]:
        """Of all modules."""
        return {path: path.read_text(encoding="utf-8") for path in sorted((self.root / PACKAGE).rglob("*.py"))}

    @cached_property
    def _modules(self) -> dict[str, Any]:
        """By module, the hash of its text and what it says, as plain values. Raises SyntaxError, with the file."""
        memory = Remembered(self.cache, self._version)
        before, modules = dict(memory.values), {}
        for path, text in self._texts.items():
            parts = path.relative_to(self.root).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            module = ".".join(parts[:-1] if is_package else parts)
            modules[module] = before.get(module)
            if modules[module] is None or modules[module]["hash"] != hashed(text):
                source = read_source(text, module, is_package, path)
                modules[module] = {"hash": hashed(text), "source": asdict(source)}
        if modules != before:
            memory.write(modules)
        return modules


class Remembered:
    """JSON values by name in a file, good for one version of what they were made of; without a file, for this run."""

    def __init__(self, path: Path | None, version: str):
        self.path, self.version = path, version
        try:
            content = json.loads(path.read_text(encoding="utf-8")) if path is not None else {}
        except (OSError, ValueError):
            content = {}
        self.values: dict[str, Any] = content["values"] if content.get("version") == version else {}

    def write(self, values: dict[str, Any]) -> None:
        """Put these values in place of all that there are."""
        self.values = values
        if self.path is None:
            return
        temporary = self.path.with_suffix(f".{os.getpid()}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps({"version": self.version, "values": values}), encoding="utf-8")
            os.replace(temporary, self.path)
        except OSError:  # a folder that cannot be written to: they are made again next time
            return


def hashed(*texts: str) -> str:
    """16 hex digits of the SHA-256 of some texts."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
