"""checkpoints.json: the checkpoints of one training run, written when the run is complete."""

import hashlib
import re
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from workflow_scripts.artifacts.checksums import checksum
from workflow_scripts.artifacts.files import ArtifactError, read_text, write_text
from workflow_scripts.artifacts.records import Record

SCHEMA = "checkpoints/1"


class CheckpointEntry(Record):
    """One checkpoint folder, relative to the file."""

    name: str = Field(pattern=r"^step-\d{6}$")
    step: int
    sha256: str = Field(description="Over the folder's weight files, sorted by name.")
    settings_sha256: str | None = Field(
        default=None, description="Over its JSON files; None where it was not recorded yet (before 0.8.0)."
    )

    @classmethod
    def of(cls, folder: Path, step: int) -> "CheckpointEntry":
        """The entry of the checkpoint in `folder`."""
        return cls(
            name=checkpoint_name(step),
            step=step,
            sha256=weights_hash(folder),
            settings_sha256=weights_hash(folder, "*.json"),
        )


class CheckpointIndex(Record):
    """All checkpoints of a run."""

    schema_: str = Field(default=SCHEMA, alias="schema")
    model: str
    checkpoints: list[CheckpointEntry]
    provenance: dict[str, Any]

    def write(self, path: Path) -> None:
        """Write as JSON, atomically."""
        write_text(Path(path), self.model_dump_json(by_alias=True, indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> "CheckpointIndex":
        """Read and validate; errors name the file and the remedy."""
        try:
            found = cls.model_validate_json(read_text(path, "the training step"))
        except ValidationError as error:
            raise ArtifactError(f"{path}: {error.errors()[0]['msg']}; delete it and run again") from None
        if found.schema_ != SCHEMA:
            raise ArtifactError(f"{path}: schema {found.schema_!r}, expected {SCHEMA!r}; delete it and run again")
        return found

    def folder(self, path: Path, name: str) -> Path:
        """Folder of checkpoint `name` of the index read from `path`.

        Raises:
            ArtifactError: there is no such checkpoint, or its files are not those that the index lists.
        """
        recorded = {entry.name: entry for entry in self.checkpoints}
        if name not in recorded:
            raise ArtifactError(f"{path}: no checkpoint {name!r}; known: {', '.join(recorded)}")
        folder = Path(path).parent / name
        entry = recorded[name]
        for what, found, expected in (
            ("weights", weights_hash(folder), entry.sha256),
            ("settings (*.json)", weights_hash(folder, "*.json"), entry.settings_sha256),
        ):
            if expected is not None and found != expected:
                raise ArtifactError(
                    f"{folder}: its {what} are not those of {path}; bring them back, or delete {path} to train again"
                )
        return folder


def checkpoint_name(step: int) -> str:
    """`step-000400` for 400."""
    return f"step-{step:06d}"


def checkpoint_step(name: str) -> int | None:
    """400 for `step-000400`; None for a name without a step (`base`, `final`)."""
    match = re.fullmatch(r"step-(\d+)", name)
    return None if match is None else int(match[1])


def weights_hash(folder: Path, pattern: str = "*.safetensors") -> str:
    """SHA-256 over the names and hashes of a checkpoint's weight files (or others), sorted by name."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob(pattern)):
        digest.update(f"{path.relative_to(folder).as_posix()} {checksum(path)}\n".encode())
    return digest.hexdigest()
