"""The study that tests plan, edit and run in the place of the repository's config.yaml."""

import copy
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
SMALL_STUDY = Path(__file__).with_suffix(".yaml")


def small_values() -> dict[str, Any]:
    """Its values and those of assets.yaml, read anew."""
    return yaml.safe_load((ROOT / "assets.yaml").read_text()) | yaml.safe_load(SMALL_STUDY.read_text())


def changed(values: dict, path: str, value: object) -> dict:
    """A copy with the value at a dotted path replaced."""
    result = copy.deepcopy(values)
    node = result
    *parents, last = path.split("/")
    for part in parents:
        node = node[part]
    node[last] = value
    return result
