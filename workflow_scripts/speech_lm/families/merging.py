"""Input embeddings as a model makes them: its own forward is started, and stopped before the first decoder layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from workflow_scripts.speech_lm.hooks import hidden_argument
from workflow_scripts.speech_lm.protocol import SpeechLMError


class _FirstLayerReached(Exception):
    """Ends a forward pass before its first decoder layer."""


class _CountedMerge(TorchFunctionMode):
    """Compares, at every masked scatter, the positions to fill with the embeddings that are there to fill them.

    torch raises if there are too few embeddings and silently drops those too many.
    """

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if function in (Tensor.masked_scatter, Tensor.masked_scatter_, torch.masked_scatter):
            target, mask, source = args
            width = target.shape[-1]
            positions = int(mask.sum()) // (width if mask.shape[-1] == width else 1)
            if positions * width != source.numel():
                raise ValueError(f"{positions} placeholders, {source.numel() / width:g} audio embeddings")
        return function(*args, **(kwargs or {}))


@torch.no_grad()
def merged_embeddings(
    model: nn.Module, decoder: nn.Module, inputs: Mapping[str, Tensor], placeholder: int, what: str
) -> Tensor:
    """(T, d) input embeddings of one query, audio merged by the model itself, on the model's device.

    Args:
        model: takes `inputs` as keyword arguments.
        decoder: its decoder stack; what it is called with as `inputs_embeds` is returned. A model that merges inside
            its decoder (Phi-4-multimodal) has the first layer's input returned instead.
        inputs: batch of one, unpadded, with `input_ids`.
        placeholder: id of an audio position.
        what: names model and clip in errors.

    Raises:
        SpeechLMError: the number of audio embeddings is not the number of placeholders, or some placeholder was not
            replaced; raised before the language model runs.
    """
    found: dict[str, Tensor] = {}

    def at_decoder(_module: nn.Module, _args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if kwargs.get("inputs_embeds") is not None:
            found["decoder"] = kwargs["inputs_embeds"]

    def at_first_layer(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        found["layer"] = hidden_argument(args, kwargs)[0]
        raise _FirstLayerReached

    handles = [
        decoder.register_forward_pre_hook(at_decoder, with_kwargs=True),
        decoder.layers[0].register_forward_pre_hook(at_first_layer, with_kwargs=True),
    ]
    try:
        with _CountedMerge():
            model(**inputs, use_cache=False)
    except _FirstLayerReached:
        pass
    except (ValueError, RuntimeError, IndexError) as error:
        n = int((inputs["input_ids"] == placeholder).sum())
        raise SpeechLMError(
            f"{what}: the model cannot put its audio embeddings in the place of {n} placeholders ({error}); processor "
            "and weights must be of the same model and revision"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    embeds = found.get("decoder", found["layer"])[0]
    _check_replaced(model, embeds, inputs["input_ids"][0], placeholder, what)
    return embeds


def _check_replaced(model: nn.Module, embeds: Tensor, ids: Tensor, placeholder: int, what: str) -> None:
    """Every placeholder must have got an embedding other than the placeholder token's own."""
    at = ids == placeholder
    if len(embeds) != len(ids):
        raise SpeechLMError(f"{what}: {len(ids)} token ids became {len(embeds)} positions; write an adapter class")
    table = model.get_input_embeddings()
    safe = min(placeholder, table.weight.shape[0] - 1)
    own = table(torch.tensor([safe], device=embeds.device))[0].to(embeds.dtype)
    kept = int((embeds[at] == own).all(dim=-1).sum())
    if kept:
        raise SpeechLMError(
            f"{what}: {kept} of {int(at.sum())} placeholders were not replaced by audio embeddings; the processor gave "
            "no or too few audio features"
        )
    if not math.isfinite(float(embeds[at].float().abs().max())):
        raise SpeechLMError(f"{what}: the audio embeddings are not finite; run this model in float32 or bfloat16")
