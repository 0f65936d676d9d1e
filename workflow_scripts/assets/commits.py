"""Remembers which commit a branch or tag of the hub meant when it was fetched first.

The record of an asset cannot do so: a workflow removes it before the asset is fetched again.
"""

import json
from pathlib import Path

from workflow_scripts.artifacts.asset_record import SourceRecord
from workflow_scripts.artifacts.files import write_text
from workflow_scripts.assets.errors import AssetError

COMMITS = ".commits"
"""Folder beside the assets' folders."""


def remembered_commit(now: SourceRecord, path: Path) -> None:
    """Check that a hub revision still means the commit noted in `path`, and note it if there is none.

    Raises:
        AssetError: it moved; names both commits and how to choose.
    """
    if now.kind != "hub" or now.commit is None:
        return
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        noted = {}
    key = f"{now.hub}@{now.revision}"
    before = noted.get(key)
    if before is not None and before != now.commit:
        raise AssetError(
            f"hub repository {now.hub}: revision {now.revision!r} moved from commit {before} to {now.commit}. Set "
            f"`revision: {before}` to keep what this study was made with, or `revision: {now.commit}` to take the "
            "new one (every result of the model is then made again)"
        )
    if before is None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps({**noted, key: now.commit}, indent=1, sort_keys=True) + "\n")
