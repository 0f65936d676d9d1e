"""The record of a fetched asset: `resources/{asset}/asset.json`.

It is written last, so its presence means that every file listed is complete and had the expected hash. It
holds no times, so fetching the same asset again gives the same bytes.
"""

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workflow_scripts.artifacts.files import ArtifactError, read_text, write_text

RECORD_NAME = "asset.json"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class AssetSchema(_Part):
    """Name and version of this file format."""

    name: Literal["asset"] = "asset"
    version: Literal[1] = 1


class FileRecord(_Part):
    """One file of the asset."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256, 64 hexadecimal digits.")
    size: int = Field(ge=0, description="Size in bytes.")


class SourceRecord(_Part):
    """The source that was used, of the alternatives in the config."""

    kind: Literal["package", "hub", "path"] = Field(description="What the source is.")
    packages: list[str] = Field(default=[], description="`name==version` of each package.")
    hub: str | None = Field(default=None, description="Repository of the model hub.")
    revision: str | None = Field(default=None, description="Revision asked for.")
    commit: str | None = Field(default=None, description="Commit that the revision was resolved to.")
    path: str | None = Field(default=None, description="Local folder or file.")
    format: str = Field(description="Format in which the source delivers the asset.")


class AssetRecord(_Part):
    """What is in an asset's folder and where it came from. Model fields are None for other assets."""

    schema_: AssetSchema = Field(default=AssetSchema(), alias="schema")
    name: str = Field(description="Key of the asset in the config.")
    format: str = Field(description="Format of the folder: `files` or `transformers`.")
    licence: str = Field(description="Licence as stated in the config.")
    source: SourceRecord = Field(description="The source used.")
    files: dict[str, FileRecord] = Field(description="Every file by its path in the folder.")
    originals: dict[str, FileRecord] = Field(
        default={}, description="The files a converted model was made from, by name."
    )
    converted_with: dict[str, str] = Field(default={}, description="Library versions of the conversion.")
    model_type: str | None = Field(default=None, description="`model_type` of config.json.")
    vocab_size: int | None = Field(default=None, description="Rows of the token embeddings, by config.json.")
    tokenizer_size: int | None = Field(default=None, description="Number of ids the tokenizer knows.")
    n_parameters: int | None = Field(
        default=None,
        description="Numbers in the safetensors files; tied tensors are stored and counted once.",
    )
    dtypes: list[str] = Field(default=[], description="Number types in the safetensors files.")
    has_chat_template: bool | None = Field(default=None, description="Whether a chat template comes along.")
    pad_token: str | None = Field(default=None, description="Padding token as stored; None: the model has none.")


def write_asset_record(folder: Path, record: AssetRecord) -> Path:
    """Write `asset.json` into an asset's folder, atomically. Returns its path."""
    path = folder / RECORD_NAME
    text = json.dumps(record.model_dump(mode="json", by_alias=True), indent=2, ensure_ascii=False)
    write_text(path, text + "\n")
    return path


def read_asset_record(folder: Path, *, check_files: bool = True) -> AssetRecord:
    """Read the record of an asset.

    Args:
        folder: the asset's folder, or the path of its `asset.json`.
        check_files: also check that every file listed exists and has the size recorded (hashes are not
            computed).

    Raises:
        ArtifactError: there is no record (the asset was not fetched, or not completely), it is damaged or of
            another version, or a file is missing or has another size; the message names the file and the remedy.
    """
    path = folder if folder.name == RECORD_NAME else folder / RECORD_NAME
    remedy = f"delete {path} and run the workflow again to fetch the asset"
    text = read_text(path, "the assets stage when an asset is complete")
    try:
        record = AssetRecord.model_validate_json(text)
    except ValidationError as error:
        raise ArtifactError(f"{path} is no asset record of version 1; {remedy}. Details: {error}") from error
    if check_files:
        for name, file in record.files.items():
            found = path.parent / name
            if not found.is_file():
                raise ArtifactError(f"{found} is missing but listed in {path}; {remedy}")
            if found.stat().st_size != file.size:
                size = found.stat().st_size
                raise ArtifactError(f"{found} has {size} bytes, {path} says {file.size}; {remedy}")
    return record


def files_below(folder: Path) -> list[Path]:
    """Relative paths of all files below a folder, sorted; hidden ones are left out.

    So is an asset record at the top: a folder fetched elsewhere may serve as a source, but gets a record of its own.
    """
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(
        path for path in found if not any(part.startswith(".") for part in path.parts) and path != Path(RECORD_NAME)
    )
