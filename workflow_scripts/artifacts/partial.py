"""Finished batches of an unfinished step, so that a killed job goes on where it stopped."""

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from workflow_scripts.artifacts.files import atomic_path, disk_full_named

logger = logging.getLogger(__name__)


class _Partial:
    """What is kept beside an output that is not finished: `.<name>.partial`.

    Args:
        output: file of the finished step.
        fingerprint: of all that decides the batches; those of other work (inputs, settings or code) are not used.
    """

    def __init__(self, output: Path, fingerprint: str) -> None:
        self.path = output.with_name(f".{output.name}.partial")
        self.fingerprint = fingerprint

    @classmethod
    def of_step(cls, step: Any) -> Self:
        """For a rule's first output: batches of other params, code among them, or of other inputs are not used."""
        files = [Path(str(path)) for path in step.input]
        made = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
        told = json.dumps([made, dict(step.params.items())], sort_keys=True, default=str)
        return cls(Path(str(step.output[0])), hashlib.sha256(told.encode()).hexdigest()[:16])

    def _found_some(self, n: int) -> None:
        if n:
            logger.info("%s: %d batches are there from an earlier run", self.path, n)


class PartialBatches(_Partial):
    """JSON values by key, one line each in one file; the first line says what they are of. A line cut off by a kill
    is ignored."""

    def __init__(self, output: Path, fingerprint: str) -> None:
        super().__init__(output, fingerprint)
        self._head = json.dumps({"fingerprint": fingerprint})
        self._found = self._read()
        self._found_some(len(self._found))

    def get(self, key: str) -> Any:
        """The batch of a key, None if it is not finished."""
        return self._found.get(key)

    def add(self, key: str, value: Any) -> None:
        """Keep a finished batch.

        Raises:
            ArtifactError: the disk is full.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with disk_full_named(self.path), open(self.path, "a", encoding="utf-8") as out:
            if out.tell() == 0:
                out.write(self._head + "\n")
            out.write(json.dumps([key, value]) + "\n")

    def remove(self) -> None:
        """Delete the file; the output is complete."""
        self.path.unlink(missing_ok=True)

    def _read(self) -> dict[str, Any]:
        text = self.path.read_text(encoding="utf-8", errors="replace") if self.path.exists() else ""
        head, *lines = text.splitlines() or [""]
        if head != self._head:
            self.remove()
            return {}
        whole = [line for line in lines if _parsed(line) is not None]
        if len(whole) < len(lines) or not text.endswith("\n"):
            # The next batch starts on a line of its own; a kill in this moment loses nothing.
            with atomic_path(self.path) as temporary:
                temporary.write_text("\n".join([head, *whole]) + "\n", encoding="utf-8")
        return dict(_parsed(line) for line in whole)


class PartialArrays(_Partial):
    """Arrays by key, one `.npz` file each in one folder, so that none stays in memory. A file that is not whole is
    ignored."""

    def __init__(self, output: Path, fingerprint: str) -> None:
        super().__init__(output, fingerprint)
        for file in self.path.glob("*"):
            if not file.match(f"{fingerprint}.*.npz"):
                file.unlink()
        self._found_some(len(list(self.path.glob("*"))))

    def get(self, key: str) -> dict[str, np.ndarray] | None:
        """The arrays of a key, None if they are not there whole."""
        try:
            with np.load(self._file(key), allow_pickle=False) as found:
                return dict(found)
        except Exception:  # a damaged archive raises whatever its bytes happen to say
            return None

    def add(self, key: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep a finished batch.

        Raises:
            ArtifactError: the disk is full.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        temporary = self.path / "unfinished"
        with disk_full_named(self.path), open(temporary, "wb") as out:
            np.savez(out, **arrays)
        temporary.replace(self._file(key))

    def remove(self) -> None:
        """Delete the folder; the output is complete."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _file(self, key: str) -> Path:
        return self.path / f"{self.fingerprint}.{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"


def _parsed(line: str) -> tuple[str, Any] | None:
    try:
        key, value = json.loads(line)
    except (ValueError, TypeError):
        return None
    return (key, value) if isinstance(key, str) else None
