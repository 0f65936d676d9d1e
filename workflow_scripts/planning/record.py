"""What a results folder remembers about code: which definitions a digest was made of, and which digests were accepted.

results/code/{digest}.json    name and hashes of each definition, so that a later change can be named
results/code/accepted.json    {digest now: {wildcards: digest whose results are kept}}
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workflow_scripts.planning.code import Step
from workflow_scripts.planning.forms import CAUGHT, PACKAGE

FOLDER = Path("results/code")
PREFIX = "code:"


class CodeRecord:
    """The folder of a study, relative to where the workflow runs; None remembers nothing."""

    def __init__(self, folder: Path | None):
        self.folder = folder
        self.accepted: dict[str, dict[str, str]] = {}
        if folder is not None and (folder / "accepted.json").exists():
            self.accepted = json.loads((folder / "accepted.json").read_text(encoding="utf-8"))
        self._written: set[str] = set()

    def value(self, step: Step, wildcards: Any) -> str:
        """The param of a job: the digest of its code, or the one that was accepted in its place."""
        if self.folder is not None and step.digest not in self._written:
            self._written.add(step.digest)
            if not (path := self.folder / f"{step.digest}.json").exists():
                self._write(path, step.definitions)
        return PREFIX + self.accepted.get(step.digest, {}).get(job_key(wildcards), step.digest)

    def accept(self, now: str, wildcards: Any, before: str) -> None:
        """Keep the results that a job's code `before` made, now that it is `now`; `save` writes it."""
        self.accepted.setdefault(now, {})[job_key(wildcards)] = before

    def save(self) -> None:
        """Write what was accepted."""
        assert self.folder is not None
        self._write(self.folder / "accepted.json", self.accepted)

    def definitions(self, digest: str) -> Mapping[str, tuple[str, str]] | None:
        """What a digest was made of; None if it is not known here."""
        path = (self.folder or FOLDER) / f"{digest}.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def _write(self, path: Path, content: Any) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(content, indent=0, sort_keys=True), encoding="utf-8")
        os.replace(temporary, path)


def job_key(wildcards: Any) -> str:
    """A job of a rule, by its wildcards."""
    items = wildcards.items() if hasattr(wildcards, "items") else ()
    return ", ".join(f"{name}={value}" for name, value in sorted(items))


def changes(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> list[str]:
    """Definitions that make two versions of a step's code differ: `module: name`, with what happened to it.

    A definition that merely uses a changed one is not listed, nor is one that was renamed or moved.
    """
    if before is None:
        return ["unknown: what the results were made with is not in results/code"]
    meanings = [{meaning for meaning, _ in one.values()} for one in (before, now)]
    found = []
    for name in sorted({*before, *now}, key=lambda name: name.removesuffix(CAUGHT)):
        old, new = before.get(name), now.get(name)
        if new is None and old[0] not in meanings[1]:
            found.append((name, "no longer used"))
        elif old is None and new[0] not in meanings[0]:
            found.append((name, "now used"))
        elif old is not None and new is not None and old[0] != new[0] and old[1] != new[1]:
            found.append((name, "changed"))
    named = [(name.removeprefix(f"{PACKAGE}.").removesuffix(CAUGHT).replace(":", ": "), what) for name, what in found]
    return list(dict.fromkeys(f"{name} {what}" for name, what in named))
