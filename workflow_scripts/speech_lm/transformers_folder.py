"""Models and tokenizers out of a transformers folder: every tensor in its place, and none of the folder's code run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from workflow_scripts.speech_lm.protocol import SpeechLMError


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder, by transformers' own classes."""
    return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def load_model(
    kind: Any, folder: Path, *, name: str, allowed: Sequence[str] = (), trust_remote_code: bool = False, **options: Any
) -> Any:
    """The model of class `kind` in a folder, from safetensors.

    Args:
        name: what errors call the model.
        allowed: patterns of tensors that may be missing in the files, or left over.

    Raises:
        SpeechLMError: a tensor is missing, left over or of another shape; names the first.
    """
    model, loading = kind.from_pretrained(
        folder,
        use_safetensors=True,
        local_files_only=True,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # named below; transformers' own error does not
        trust_remote_code=trust_remote_code,
        **options,
    )
    # Tied tensors are listed as missing by some versions although they are filled.
    tied = set(getattr(model, "all_tied_weights_keys", None) or ())
    wrong = None
    if (tensor := _first(set(loading["missing_keys"]) - tied, allowed)) is not None:
        wrong = f"{folder} has no tensor {tensor} of"
    elif (tensor := _first(loading["unexpected_keys"], allowed)) is not None:
        wrong = f"{folder} has a tensor {tensor} without a place in"
    elif loading["mismatched_keys"]:
        tensor, found, expected = min(loading["mismatched_keys"])
        wrong = f"{folder}: tensor {tensor} has shape {tuple(found)}, not {tuple(expected)}, as in"
    if wrong is not None:
        raise SpeechLMError(
            f"{name}: {wrong} {type(model).__name__}: weights and class do not belong together; fetch all files of the "
            "model or name another `class`; what may be missing or left over can be allowed in `allowed_tensors`"
        )
    return model


def _first(names: Iterable[str], allowed: Sequence[str]) -> str | None:
    return next((name for name in sorted(names) if not any(fnmatch(name, pattern) for pattern in allowed)), None)
