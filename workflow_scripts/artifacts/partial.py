"""Finished batches of an unfinished step, so that a killed job goes on where it stopped."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.files import disk_full_named

logger = logging.getLogger(__name__)


class PartialBatches:
    """JSON values by key, one line each, beside the output they will become; the first line says what they are of.

    A file of other work (other inputs, settings or code) and a line cut off by a kill are ignored.

    Args:
        output: file of the finished step; the batches lie in `.<name>.partial` beside it.
        fingerprint: of all that decides them.
    """

    def __init__(self, output: Path, fingerprint: str) -> None:
        self.path = output.with_name(f".{output.name}.partial")
        self.fingerprint = fingerprint
        self._found = self._read()
        if self._found:
            logger.info("%s: %d batches are there from an earlier run", self.path, len(self._found))

    @classmethod
    def of_step(cls, step: Any) -> "PartialBatches":
        """For a rule's first output: batches of other params, code among them, or of other inputs are not used."""
        files = [Path(str(path)) for path in step.input]
        made = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
        told = json.dumps([made, dict(step.params.items())], sort_keys=True, default=str)
        return cls(Path(str(step.output[0])), hashlib.sha256(told.encode()).hexdigest()[:16])

    def get(self, key: str) -> Any:
        """The batch of a key, None if it is not finished."""
        return self._found.get(key)

    def add(self, key: str, value: Any) -> None:
        """Keep a finished batch.

        Raises:
            ArtifactError: the disk is full.
        """
        with disk_full_named(self.path), open(self.path, "a", encoding="utf-8") as out:
            out.write(json.dumps([key, value]) + "\n")

    def remove(self) -> None:
        """Delete the file; the output is complete."""
        self.path.unlink(missing_ok=True)

    def _read(self) -> dict[str, Any]:
        head = json.dumps({"fingerprint": self.fingerprint})
        lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines() if self.path.exists() else []
        own = lines[1:] if lines[:1] == [head] else []
        whole = [line for line in own if _parsed(line) is not None]
        # Written anew, so that the next batch starts on a line of its own.
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with disk_full_named(self.path):
            self.path.write_text("\n".join([head, *whole]) + "\n", encoding="utf-8")
        return dict(_parsed(line) for line in whole)


def _parsed(line: str) -> tuple[str, Any] | None:
    try:
        key, value = json.loads(line)
        return key, value
    except (ValueError, TypeError):
        return None
