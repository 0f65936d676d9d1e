"""Sources that were read before: a file between runs, so that planning reads only what changed."""

import hashlib
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from workflow_scripts.planning.definitions import read_source
from workflow_scripts.planning.forms import Source


class SourceCache:
    """Sources by module, with the hash of the text they were read from, kept in a file between runs."""

    def __init__(self, path: Path | None):
        self.path = path
        readers = sorted(Path(__file__).parent.glob("*.py"))
        self.version = hashed(str(sys.version_info[:2]), *(file.read_text(encoding="utf-8") for file in readers))
        self.modules: dict[str, Any] = {}
        self.is_new = False
        try:
            content = json.loads(path.read_text(encoding="utf-8")) if path is not None else {}
        except (OSError, ValueError):
            content = {}
        if content.get("version") == self.version:
            self.modules = content["modules"]

    def source(self, text: str, module: str, is_package: bool) -> Source:
        known = self.modules.get(module)
        if known is None or known["hash"] != hashed(text):
            known = {"hash": hashed(text), "source": asdict(read_source(text, module, is_package))}
            self.modules[module], self.is_new = known, True
        return Source.of(known["source"])

    def save(self) -> None:
        """Write the file, if something was read that it does not have."""
        if self.path is None or not self.is_new:
            return
        self.is_new = False
        temporary = self.path.with_suffix(f".{os.getpid()}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps({"version": self.version, "modules": self.modules}), encoding="utf-8")
            os.replace(temporary, self.path)
        except OSError:  # a folder that cannot be written to: the sources are read again next time
            return


def hashed(*texts: str) -> str:
    """16 hex digits of the SHA-256 of some texts."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
