"""Files from the model hub and from local folders."""

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from workflow_scripts.artifacts.asset_record import files_below
from workflow_scripts.artifacts.files import sha256_file
from workflow_scripts.assets.errors import AssetError, DiskFullError
from workflow_scripts.assets.files import disk_full_explained, place
from workflow_scripts.settings.assets import HubSource, PathSource

logger = logging.getLogger(__name__)

Snapshot = Callable[..., str]
"""Called like huggingface_hub.snapshot_download; returns the snapshot's folder, named after its commit."""

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")
"""Weights that can run code when read; never fetched."""

OTHER_WEIGHTS = (
    *("*.h5", "*.msgpack", "*.onnx", "*.onnx_data", "*.ot", "*.tflite", "*.gguf"),
    "consolidated*.safetensors",  # Mistral's own layout
)
"""The same weights for other programs; not fetched unless a source asks for them by pattern."""


def fetch_hub_files(
    source: HubSource,
    format: str,
    folder: Path,
    snapshot: Snapshot | None = None,
    estimate: Callable[[HubSource, list[str]], int | None] | None = None,
) -> tuple[dict[str, Path], str]:
    """Fetch files of a hub repository.

    They pass through the hub's cache (HF_HOME), so that HF_HUB_OFFLINE works with a filled cache and an
    interrupted download continues, and are linked from there. HF_TOKEN is used where set.

    Args:
        source: repository, revision and patterns.
        format: the source's format; only `ctranslate2_whisper` may fetch `model.bin`, which is no pickle there.
        folder: where the files go.
        snapshot: replaces huggingface_hub.snapshot_download in tests.
        estimate: bytes to download by source and ignored patterns, None if unknown (default: as the hub says).

    Returns:
        Path by file name, and the commit that the revision was resolved to.

    Raises:
        AssetError: the repository, revision or network is not there, or it has weights in pickles only.
        DiskFullError: no room.
    """
    ignored = [] if format == "ctranslate2_whisper" else list(PICKLES)
    if source.files is None:
        wanted = {"gguf": ("*.gguf",)}.get(format, ())
        ignored += [pattern for pattern in OTHER_WEIGHTS if pattern not in wanted]
    where = f"hub repository {source.hub}, revision {source.revision}"
    if estimate is None and snapshot is None and not os.environ.get("HF_HUB_OFFLINE"):
        estimate = hub_bytes
    if snapshot is None:
        from huggingface_hub import snapshot_download as snapshot
    if estimate is not None:
        require_disk(where, estimate(source, ignored), folder)
    try:
        with disk_full_explained(folder):
            cached = Path(
                snapshot(
                    source.hub,
                    revision=source.revision,
                    repo_type=_kind(source),
                    allow_patterns=source.files,
                    ignore_patterns=ignored or None,
                    token=os.environ.get("HF_TOKEN") or None,
                )
            )
    except DiskFullError:
        raise
    except Exception as error:
        # The hub client raises many unrelated types (its own, HTTP, connection, value errors).
        cause = str(error).strip().splitlines()[0] if str(error).strip() else "no details"
        raise AssetError(f"{where}: {type(error).__name__}: {cause}. Remedy: {hub_remedy(error)}") from error
    names = files_below(cached)
    if format == "transformers" and not any(name.suffix == ".safetensors" for name in names):
        raise AssetError(
            f"{where} has no *.safetensors among {[str(name) for name in names]}. Weights in pickles (.bin, "
            ".pt) are not read, since reading them can run code; name a revision with safetensors (often refs/pr/N) "
            "or convert the model in a safe place and use a `path` source"
        )
    with disk_full_explained(folder):
        for name in names:
            place(cached / name, folder / name)
    return {name.as_posix(): folder / name for name in names}, cached.name


def _kind(source: HubSource) -> str:
    return "dataset" if source.dataset else "model"


def hub_remedy(error: BaseException) -> str:
    """What to do about an error of the hub client, by its kind."""
    names = {kind.__name__ for kind in type(error).__mro__}
    offline = bool(os.environ.get("HF_HUB_OFFLINE"))
    if "GatedRepoError" in names:
        return "accept the model's terms on its page, and set HF_TOKEN to a token of that account"
    if "RepositoryNotFoundError" in names:
        return "check the name; if the repository is private, set HF_TOKEN"
    if "RevisionNotFoundError" in names:
        return "check the revision: a branch, tag or full commit of that repository"
    if offline or "OfflineModeIsEnabled" in names:
        return "HF_HUB_OFFLINE is set: fill the cache first on a machine with network, or unset it"
    if names & {"LocalEntryNotFoundError", "ConnectionError", "ConnectError", "TimeoutError"}:
        return "check the network; or fill the cache elsewhere (HF_HOME), set HF_HUB_OFFLINE=1, or use a `path` source"
    return "check the name, the revision, the network and, for gated models, HF_TOKEN"


def hub_bytes(source: HubSource, ignored: list[str]) -> int | None:
    """Bytes that a snapshot would fetch into an empty cache; None if the hub does not say."""
    from huggingface_hub import HfApi
    from huggingface_hub.utils import filter_repo_objects

    try:
        info = HfApi(token=os.environ.get("HF_TOKEN") or None).repo_info(
            source.hub, revision=source.revision, repo_type=_kind(source), files_metadata=True
        )
    except Exception as error:
        # The download itself reports what is wrong, with its remedy.
        logger.info("the size of %s is not known (%s)", source.hub, type(error).__name__)
        return None
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    return sum(sizes[name] for name in filter_repo_objects(list(sizes), source.files, ignored or None))


def require_disk(where: str, needed: int | None, folder: Path) -> None:
    """Log how much will be downloaded.

    Raises:
        DiskFullError: more than is free where the workflow's resources are.
    """
    if needed is None:
        return
    free = shutil.disk_usage(folder).free
    logger.info("%s: %.2f GB to download at most, %.2f GB free", where, needed / 1e9, free / 1e9)
    if needed > free:
        raise DiskFullError(
            f"{where} needs {needed / 1e9:.2f} GB, {folder} has {free / 1e9:.2f} GB free; free some, or link "
            "resources/ and HF_HOME to a larger disk"
        )


def fetch_local_files(source: PathSource, folder: Path) -> dict[str, Path]:
    """Link or copy a local folder (its hidden files left out) or a single file.

    Returns:
        Path by file name.

    Raises:
        AssetError: the path does not exist or is empty, or a listed file is missing or has another hash.
        DiskFullError: no room.
    """
    start = Path(source.path).expanduser()
    if not start.exists():
        raise AssetError(f"path {source.path} does not exist (from {Path.cwd()}); correct `path` in the config")
    root, names = (start.parent, [Path(start.name)]) if start.is_file() else (start, files_below(start))
    if not names:
        raise AssetError(f"path {source.path} is an empty folder; correct `path` in the config")
    for name, expected in (source.sha256 or {}).items():
        if Path(name) not in names:
            raise AssetError(f"path {source.path} has no file {name}, for which the config gives a sha256")
        found = sha256_file(root / name)
        if found != expected:
            raise AssetError(
                f"path {source.path}: file {name} has sha256 {found}, expected {expected}; "
                "restore the file, or correct `sha256` if the change is intended"
            )
    with disk_full_explained(folder):
        for name in names:
            place(root / name, folder / name)
    return {name.as_posix(): folder / name for name in names}
