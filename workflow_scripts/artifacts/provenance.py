"""Where a file comes from: code version, library versions, settings, seeds."""

import functools
import json
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.files import sha256_text

LIBRARIES = ("torch", "transformers", "peft", "numpy", "scipy", "scikit-learn", "h5py", "hibari-tts", "snakemake")


@functools.cache
def code_version() -> str:
    """Commit of the checkout this package lies in, with `-dirty` if tracked files differ; `unknown` outside git."""
    here = Path(__file__).parent
    try:
        run = functools.partial(subprocess.run, cwd=here, capture_output=True, text=True, check=True, timeout=20)
        commit = run(["git", "rev-parse", "HEAD"]).stdout.strip()
        changed = run(["git", "status", "--porcelain", "--untracked-files=no"]).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return commit + ("-dirty" if changed else "")


@functools.cache
def library_versions() -> dict[str, str]:
    """Installed versions of the libraries that decide numbers."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def settings_hash(settings: Mapping[str, Any]) -> str:
    """First 16 hex digits of the SHA-256 of settings as canonical JSON."""
    return sha256_text(json.dumps(settings, sort_keys=True, default=str))[:16]


def provenance(settings: Mapping[str, Any] | None = None, **facts: Any) -> dict[str, Any]:
    """A mapping for a file header: code and library versions, settings with their hash, and the given facts."""
    record: dict[str, Any] = {"code_version": code_version(), "libraries": library_versions(), **facts}
    if settings is not None:
        record |= {"settings": dict(settings), "settings_hash": settings_hash(settings)}
    return record
