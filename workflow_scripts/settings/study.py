"""A study outside Snakemake: the default files with those of the user on top, merged as Snakemake merges them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from workflow_scripts.settings.config import Config
from workflow_scripts.settings.files import ConfigFiles
from workflow_scripts.settings.parsing import parse_config

DEFAULTS = ("assets.yaml", "config.yaml")


def read_study(root: Path, overlays: Sequence[Path | str] = ()) -> Config:
    """The default config of the checkout at `root` with `overlays` on top; relative paths in it start at `root`.

    Raises:
        ConfigError: naming file, line, key and remedy.
    """
    files = ConfigFiles([*(root / name for name in DEFAULTS), *overlays])
    merged: dict[str, Any] = {}
    for path in files.paths:
        _merge(merged, yaml.safe_load(path.read_text(encoding="utf-8")))
    return parse_config(merged, files, root)


def _merge(below: dict[str, Any], above: dict[str, Any]) -> None:
    """Mappings are merged key by key, everything else is replaced."""
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(below.get(key), dict):
            _merge(below[key], value)
        else:
            below[key] = value
