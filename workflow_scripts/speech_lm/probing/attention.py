"""Who looks where: attention weights of the answer's positions, and positions hidden from them in some layers.

Both start from `SharedPrompts`: the prompt is run once with the model's own attention, and of each prompt only the last
position and the answer's tokens are computed anew. So every row of attention that is seen or masked here belongs to the
answer, and the weights of a layer are (B, heads, answer positions, positions), never the square of the prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from workflow_scripts.speech_lm.probing.edited_prompts import SharedPrompts
from workflow_scripts.speech_lm.protocol import SpeechLMError

EAGER = "eager"
"""The attention of transformers that gives its weights; others (`sdpa`, flash) never have them in memory."""
NO_MASK = "its layers take no attention mask"
NO_WEIGHTS = "its attention gives no weights"


class NoAttentionError(SpeechLMError):
    """Layers do not show where they look, or cannot be kept from looking; the message is `NO_WEIGHTS` or `NO_MASK`."""


@contextmanager
def hidden_positions(layers: Sequence[nn.Module], hidden: Tensor) -> Iterator[None]:
    """While open, whatever the layers compute looks at none of the hidden positions.

    hidden: (B, T) bool on the model's device, T at least the positions that the layers see. Only layers that are called
    with a 4-D mask, as those over a `RaggedCache` are, can be opened so; others raise NoAttentionError when they run.
    """

    def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple:
        mask = kwargs.get("attention_mask")
        if not isinstance(mask, Tensor) or mask.ndim != 4 or len(mask) != len(hidden):
            raise NoAttentionError(NO_MASK)
        # As the masks of `RaggedCache`: the lowest number, for which softmax gives exactly 0.
        lowest = False if mask.dtype == torch.bool else torch.finfo(mask.dtype).min
        masked = mask.masked_fill(hidden[:, None, None, : mask.shape[-1]], lowest)
        return args, {**kwargs, "attention_mask": masked}

    handles = [layer.register_forward_pre_hook(hook, with_kwargs=True) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def eager_attention(decoder: nn.Module) -> Iterator[None]:
    """While open, the decoder's attention is the one that gives weights; afterwards it is what it was."""
    before = decoder.config._attn_implementation
    decoder.set_attn_implementation(EAGER)
    try:
        yield
    finally:
        decoder.set_attn_implementation(before)


@torch.no_grad()
def attention_sums(
    shared: SharedPrompts, rows: Sequence[int], answers: Sequence[Sequence[int]], groups: Tensor
) -> list[Tensor]:
    """Attention from each prompt's last position and its answer's tokens to groups of positions, all layers.

    Args:
        shared: prompts of which the inputs of layer 0 are kept.
        answers: per row, token ids of its answer, forced; the last one is only predicted and looks nowhere.
        groups: (B, C, T) float on the model's device, 1 where position t belongs to group c, T the cache's capacity.

    Gives, per row, float32 (L, heads, answer positions, C) on the CPU. Raises NoAttentionError where a layer gives no
    weights.
    """
    lm = shared.lm
    found: list[list[Tensor]] = [[] for _ in lm.decoder_layers]

    def take(layer: int, weights: Tensor) -> None:
        found[layer].append(torch.einsum("bhqk,bck->bhqc", weights.float(), groups[..., : weights.shape[-1]]).cpu())

    with eager_attention(lm.decoder), _weights(lm.decoder_layers, take):
        shared.probe(rows, [[] for _ in rows], [[ids] for ids in answers], layer=0)
    passes = 1 + (max(map(len, answers)) > 1)
    if any(len(seen) != passes for seen in found):
        raise NoAttentionError(NO_WEIGHTS)
    whole = torch.stack([torch.cat(seen, dim=2) for seen in found], dim=1)
    return [own[:, :, : len(ids)] for own, ids in zip(whole, answers)]


@contextmanager
def _weights(layers: Sequence[nn.Module], take: Callable[[int, Tensor], None]) -> Iterator[None]:
    """While open, `take` gets each layer's weights (B, heads, queries, keys): what a part of it gives beside states."""

    def look(layer: int) -> Callable[..., None]:
        def hook(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
            beside = output[1] if isinstance(output, tuple) and len(output) > 1 else None
            if isinstance(beside, Tensor) and beside.ndim == 4:
                take(layer, beside)

        return hook

    with ExitStack() as stack:
        for index, layer in enumerate(layers):
            for part in layer.children():
                stack.callback(part.register_forward_hook(look(index)).remove)
        yield
