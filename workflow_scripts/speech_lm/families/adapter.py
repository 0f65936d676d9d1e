"""Models behind a user-defined class: a `SpeechLM` that the user brings (docs/add-a-model.md has skeletons)."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from workflow_scripts.speech_lm.opening.folder_checks import FolderFacts, import_class
from workflow_scripts.speech_lm.protocol import ModelFolders, SpeechLM, SpeechLMError

DERIVE = "derive it from workflow_scripts.speech_lm.protocol.SpeechLM or families.base.DecoderSpeechLM"


def check_adapter(folder: Path, entry: Mapping[str, Any]) -> FolderFacts:
    """Check class, methods and arguments, without calling anything.

    Raises:
        SpeechLMError: the class cannot be imported, lacks methods of a `SpeechLM` or arguments of a method, or does not
            take the arguments that it will be given; names the key and what is missing.
    """
    key = f"models.{entry['name']}.adapter"
    made = import_class(entry["adapter"], key)
    editable = True
    if inspect.isclass(made) and made.__new__ is object.__new__:  # what gives objects of other classes is seen later
        absent = sorted(name for name in SpeechLM.__abstractmethods__ if not _defines(made, name))
        if absent:
            raise SpeechLMError(f"{key}: {entry['adapter']} has no method {', '.join(absent)}; {DERIVE}")
        if not issubclass(made, SpeechLM):
            raise SpeechLMError(f"{key}: {entry['adapter']} is no SpeechLM; {DERIVE}")
        for name in sorted(SpeechLM.__abstractmethods__):
            if lacking := _lacking_arguments(made, name):
                raise SpeechLMError(
                    f"{key}: {entry['adapter']}.{name} does not take {', '.join(lacking)}, as SpeechLM.{name} does"
                )
        editable = made.shares_prompts
    given = {"name": "", "device": None, "dtype": None, "system_prompt": None, **entry["options"]}
    try:
        inspect.signature(made).bind(folder, **given)
    except TypeError as error:
        raise SpeechLMError(
            f"{key}: {entry['adapter']} cannot be called as (folder, {', '.join(f'{name}=' for name in given)}): "
            f"{error}; correct its arguments or models.{entry['name']}.options"
        ) from error
    return FolderFacts(editable=editable)


def _defines(made: type, name: str) -> bool:
    return not getattr(getattr(made, name, None), "__isabstractmethod__", not hasattr(made, name))


def _lacking_arguments(made: type, name: str) -> list[str]:
    """Arguments of the protocol's method that the class's own does not take."""
    own = inspect.signature(getattr(made, name)).parameters
    if any(one.kind is one.VAR_KEYWORD for one in own.values()):
        return []
    return [one for one in inspect.signature(getattr(SpeechLM, name)).parameters if one not in own]


def open_adapter(
    folders: ModelFolders,
    entry: Mapping[str, Any],
    *,
    device: torch.device,
    dtype: torch.dtype,
    system_prompt: str | None,
) -> SpeechLM:
    """Call the class with the weights' folder and the entry's options (an `Opener`).

    Raises:
        SpeechLMError: what it gives is no `SpeechLM`, or sets not all attributes of one; names them.
    """
    key = f"models.{entry['name']}.adapter"
    lm = import_class(entry["adapter"], key)(
        folders.weights,
        name=entry["name"],
        device=device,
        dtype=dtype,
        system_prompt=system_prompt,
        **entry["options"],
    )
    if not isinstance(lm, SpeechLM):
        raise SpeechLMError(f"{key}: {entry['adapter']} gives a {type(lm).__name__}, which is no SpeechLM; {DERIVE}")
    if absent := sorted(name for name in SpeechLM.__annotations__ if not hasattr(lm, name)):
        raise SpeechLMError(f"{key}: {entry['adapter']} sets no {', '.join(absent)}; see the attributes of SpeechLM")
    return lm
