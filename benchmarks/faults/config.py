"""A bad value at every leaf of a config: it must be refused by key, file and line, or be valid and taken as it is."""

import copy
import datetime
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from snakemake.utils import update_config

from benchmarks.faults.outcomes import Fault, holds_word
from benchmarks.harness import ROOT
from workflow_scripts.planning.study import Study
from workflow_scripts.settings import DEFAULTS, Config, ConfigError, ConfigFiles, parse_config

BAD_VALUES: tuple[Any, ...] = (
    *(None, "", " ", "x", "X y", "../x", "a\x00b", "=1+1", "\u00e9" * 300, "007"),
    *(True, -1, 0, 0.5, 7, 12345678, 10**23, -0.0, math.inf, -math.inf, math.nan, 1e-300),
    *([], [None], ["a", "a"], {}, {"x": 1}, datetime.date(2026, 1, 1), b"x"),
)
Place = tuple[str | int, ...]


def studies() -> dict[str, tuple[Path, ...]]:
    """The files of the default study and of every study beside it, by name."""
    defaults = tuple(ROOT / name for name in DEFAULTS)
    others = sorted((ROOT / "studies").glob("*.yaml"))
    return {"default": defaults} | {path.stem: (*defaults, path) for path in others}


def leaves(node: Any, place: Place = ()) -> Iterator[Place]:
    """Places of all values below `node` that are no mapping; of a list its items and itself."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield from leaves(value, (*place, name))
    else:
        yield place
        for number, value in enumerate(node if isinstance(node, list) else ()):
            yield from leaves(value, (*place, number))


def try_study(name: str, files: tuple[Path, ...], every: int = 1) -> Iterator[Fault]:
    """Every bad value at every leaf that the study's last file sets (of the default study: that any file sets).

    Args:
        every: only every so many leaves, for a short form.
    """
    values: dict[str, Any] = {}
    for path in files:
        update_config(values, yaml.safe_load(path.read_text(encoding="utf-8")))
    own = values if name == "default" else yaml.safe_load(files[-1].read_text(encoding="utf-8"))
    read = ConfigFiles(files)
    for place in list(leaves(own))[::every]:
        for value in BAD_VALUES:
            changed = copy.deepcopy(values)
            node: Any = changed
            for part in place[:-1]:
                node = node[part]
            node[place[-1]] = value
            what = f"{'.'.join(map(str, place))} = {repr(value)[:40]}"
            yield Fault("config", name, what, *_outcome(changed, place, value, read))


def _outcome(values: dict[str, Any], place: Place, value: Any, files: ConfigFiles) -> tuple[str, str]:
    """Outcome and message of a config."""
    try:
        config = parse_config(values, files, ROOT)
        if not _is_taken(config, place, value):
            return "silent", "another value was taken"
        Study(config).files("{model}/{checkpoint}/{subset}/{form}.{shard}", base=True)
    except ConfigError as error:
        message = str(error)
        keys = [str(part) for part in place if not isinstance(part, int)]
        # A value may contradict another one: the message then names the keys of that, and this value or its entry.
        named = any(holds_word(message, key) for key in keys[-2:]) and ", line " in message
        return ("named" if named else "unclear"), message
    except Exception as error:
        return "traceback", f"{type(error).__name__}: {error}"
    return "harmless", ""


def _is_taken(config: Config, place: Place, value: Any) -> bool:
    """Whether a valid config holds the value as it was given; a default is fine where null or nothing was."""
    node: Any = config.model_dump(mode="python", by_alias=True)
    for part in place:
        if isinstance(node, dict) and part not in node:
            return value is None  # an entry that null removes
        node = node[part]
    if isinstance(node, bool) != isinstance(value, bool):
        return False
    same = isinstance(value, int) and isinstance(node, float) and node == float(value)
    return value is None or node == value or same or (isinstance(value, dict) and isinstance(node, dict))
