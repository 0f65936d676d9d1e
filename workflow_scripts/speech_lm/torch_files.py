"""Weights of a folder as someone published it: safetensors, or torch files of which nothing is run."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from workflow_scripts.artifacts.files import read_json
from workflow_scripts.speech_lm.protocol import SpeechLMError

_UNKNOWN_CLASS = re.compile(r"GLOBAL ([\w.]+)")
_MAX_CLASSES = 200


class Inert:
    """What stands for an object of a class that is not to be loaded: it keeps nothing and does nothing."""

    def __new__(cls, *_: Any, **__: Any) -> Inert:
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __setstate__(self, _: Any) -> None: ...


def read_published_config(folder: Path) -> dict[str, Any]:
    """config.json of a folder. Raises SpeechLMError if it is missing."""
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise SpeechLMError(f"{path} is missing; name the folder as it was published")
    return read_json(path, "the fetch step")


def read_published(folder: Path, left_out: Collection[str] = ()) -> dict[str, Tensor]:
    """All tensors of a folder whose name begins with none of `left_out`.

    Raises:
        SpeechLMError: there are no weights, or a torch file holds more than tensors.
    """
    folder, tensors = Path(folder), {}
    files = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))
    if not files:
        raise SpeechLMError(f"{folder} has neither *.safetensors nor pytorch_model*.bin; name the folder as published")
    for file in files:
        found = load_file(file) if file.suffix == ".safetensors" else read_torch_file(file)
        if not isinstance(found, Mapping) or not all(isinstance(tensor, Tensor) for tensor in found.values()):
            raise SpeechLMError(f"{file} holds more than tensors; it is no weights file of transformers")
        tensors |= {name: tensor for name, tensor in found.items() if not name.startswith(tuple(left_out))}
    return tensors


def read_torch_file(path: Path) -> Any:
    """Content of a torch file; objects of classes that torch does not trust come out as `Inert`, and no code is run.

    Raises:
        SpeechLMError: it cannot be read without running code.
    """
    trusted: list[Any] = []
    for _ in range(_MAX_CLASSES):
        try:
            with torch.serialization.safe_globals(trusted):
                return torch.load(path, map_location="cpu", weights_only=True)
        except UnpicklingError as error:
            named = _UNKNOWN_CLASS.search(str(error))
            if named is None or any(name == named[1] for _, name in trusted):
                raise SpeechLMError(f"{path} cannot be read without running code from it: {error}") from error
            trusted.append((type(named[1].rsplit(".", 1)[-1], (Inert,), {}), named[1]))
    raise SpeechLMError(f"{path} holds objects of more than {_MAX_CLASSES} unknown classes; it is no weights file")


def fill(model: nn.Module, tensors: Mapping[str, Tensor], source: Path) -> None:
    """Give every parameter of a model built on the meta device its tensor.

    Raises:
        SpeechLMError: names or shapes do not fit.
    """
    try:
        found = model.load_state_dict(dict(tensors), strict=False, assign=True)
    except RuntimeError as error:
        raise SpeechLMError(f"{source}: {' '.join(str(error).split())[:400]}") from error
    tied = set(getattr(model, "all_tied_weights_keys", None) or ()) if _is_tied(model) else set()
    missing = [name for name in found.missing_keys if name not in tied]
    if missing or found.unexpected_keys:
        raise SpeechLMError(
            f"{source}: missing {sorted(missing)[:3]}, not expected {sorted(found.unexpected_keys)[:3]} (first three "
            "each)"
        )
    if tied:
        model.tie_weights()


def _is_tied(model: nn.Module) -> bool:
    return bool(getattr(getattr(model, "config", None), "tie_word_embeddings", False))
