"""What can be known of a model's folder without loading its weights; run when it is fetched."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workflow_scripts.settings.families.public import CLASS_PATH
from workflow_scripts.settings.models import FAMILIES
from workflow_scripts.speech_lm.protocol import SpeechLMError


@dataclass(frozen=True)
class FolderFacts:
    """What a folder says of its model before the weights are read: what a family's `folder_check` gives.

    max_seconds: longest clip that it takes; None for no limit.
    editable: whether edits can start from one pass over a prompt (`SpeechLM.shares_prompts`).
    """

    max_seconds: float | None = None
    editable: bool = True


def folder_facts(folder: Path, entry: Mapping[str, Any]) -> FolderFacts:
    """What the family's `folder_check` finds in a folder of weights.

    Args:
        entry: name, family and settings (`ModelSettings.opening`).

    Raises:
        SpeechLMError: the folder does not hold such a model; with the remedy.
    """
    check = FAMILIES[entry["family"]].folder_check
    if check is None:
        return FolderFacts()
    module, _, function = check.partition(":")
    return getattr(importlib.import_module(module), function)(folder, entry)


def check_public_folder(folder: Path, entry: Mapping[str, Any]) -> FolderFacts:
    """Check the folder by the family's own `folder_check`, and that the study's clips fit the model's window.

    Args:
        entry: name, family and settings, and `speech_seconds`, the longest clip of the study.

    Raises:
        SpeechLMError: with the remedy.
    """
    facts = folder_facts(folder, entry)
    longest = facts.max_seconds or entry.get("max_seconds")
    if longest is not None and entry["speech_seconds"] > longest:
        raise SpeechLMError(
            f"{entry['name']}: speech.max_seconds is {entry['speech_seconds']:g}, but the model's window is "
            f"{longest:g} s and audio is never cut silently; set speech.max_seconds to at most {longest:g}"
        )
    return facts


def import_class(path: str, key: str) -> Callable[..., Any]:
    """The class at `package.module:Class`; only ever called with what a config entry names.

    Raises:
        SpeechLMError: names the key and what is missing.
    """
    if not re.match(CLASS_PATH, path):
        raise SpeechLMError(f"{key}: {path!r} is not of the form package.module:Class")
    module, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError as error:
        raise SpeechLMError(
            f"{key}: {module!r} cannot be imported ({error}); install it into the environment, or start the workflow "
            "in the folder that holds it with that folder on PYTHONPATH"
        ) from error
    if not callable(found):
        raise SpeechLMError(f"{key}: module {module!r} has no class {name!r}")
    return found
