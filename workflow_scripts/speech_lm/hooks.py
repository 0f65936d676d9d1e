"""Reading and replacing decoder-layer inputs with forward pre-hooks.

Both are context managers: handles are removed on the way out, also after an exception. Register edits first and
captures second: hooks run in order of registration, so captures then see the edited value at the edited layer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from workflow_scripts.speech_lm.protocol import Edit


def _active(hidden: Tensor) -> Tensor:
    """(B, T, d) states; of a model whose layers carry several streams (Gemma 3n: streams, B, T, d) the active one.

    The first is what attention and feed-forward maps read; the others are predicted from it and corrected by it.
    """
    return hidden[0] if hidden.ndim == 4 else hidden


def hidden_argument(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, Callable[[Tensor], tuple]]:
    """The hidden states a layer is called with, and a function that gives its arguments with others in their place.

    They are the first argument, or the keyword `hidden_states`.
    """
    if args:
        return args[0], lambda hidden: ((hidden, *args[1:]), kwargs)
    return kwargs["hidden_states"], lambda hidden: (args, {**kwargs, "hidden_states": hidden})


@contextmanager
def edited_inputs(layers: Sequence[nn.Module], edits: Sequence[Sequence[Edit]] | None) -> Iterator[None]:
    """While open, row b's edits replace layer inputs at its positions.

    Open it around the prefill only. A layer called with fewer positions than an edit addresses (a cached decode
    step) raises IndexError instead of writing somewhere else. Raises ValueError if an edit names a layer outside
    0 .. L-1.
    """
    by_layer: dict[int, list[tuple[int, Edit]]] = {}
    for row, row_edits in enumerate(edits or ()):
        for edit in row_edits:
            if not 0 <= edit.layer < len(layers):
                raise ValueError(f"Edit(layer={edit.layer}): this model has editable layers 0 .. {len(layers) - 1}")
            if len(edit.positions):
                by_layer.setdefault(edit.layer, []).append((row, edit))
    handles = []
    try:
        for index, layer_edits in by_layer.items():
            rows = torch.cat([torch.full((len(edit.positions),), row) for row, edit in layer_edits])
            positions = torch.cat([edit.positions.cpu() for _, edit in layer_edits]).long()
            if int(positions.min()) < 0:
                raise ValueError(f"Edit(layer={index}): position {int(positions.min())} is negative")
            values = torch.cat([edit.values.detach() for _, edit in layer_edits])
            hook = _replacing_hook(index, rows, positions, values)
            handles.append(layers[index].register_forward_pre_hook(hook, with_kwargs=True))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _replacing_hook(index: int, rows: Tensor, positions: Tensor, values: Tensor) -> Callable[..., tuple]:
    last = int(positions.max())

    def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple:
        hidden, put = hidden_argument(args, kwargs)
        if last >= hidden.shape[-2]:
            raise IndexError(f"edit at layer {index}, position {last}, but the layer got {hidden.shape[-2]} positions")
        if values.shape[1] != hidden.shape[-1]:
            raise ValueError(f"edit at layer {index} has width {values.shape[1]}, the model has {hidden.shape[-1]}")
        hidden = hidden.clone()
        at = rows.to(hidden.device), positions.to(hidden.device)
        _active(hidden)[at] = values.to(hidden.device, hidden.dtype)
        return put(hidden)

    return hook


class _EnoughCaptured(Exception):
    """Ends a forward pass when the highest wanted layer's input is there."""


@contextmanager
def captured_states(
    layers: Sequence[nn.Module], rows: Tensor, positions: Tensor, wanted: Collection[int] | None = None
) -> Iterator[list[Tensor | None]]:
    """While open, collects states at n places of the batch: yields a list of L+1 CPU tensors (n, d).

    rows, positions: (n,) int64 batch row and position of each place. Entry l < L is the input of layer l, entry L
    the raw output of the last layer. Only these places are copied, and at once, so memory does not grow with depth
    on the accelerator. With `wanted` (indices 0 .. L) only these are collected, the others stay None, and a pass that
    is run inside ends at the input of the highest of them: what is in the block behind it is skipped.
    """
    if wanted is not None and not (wanted and all(0 <= index <= len(layers) for index in wanted)):
        raise ValueError(f"layers {sorted(wanted)}: choose some of 0 .. {len(layers)}")
    last = len(layers) if wanted is None else max(wanted)
    states: list[Tensor | None] = [None] * (len(layers) + 1)

    def take(index: int, hidden: Tensor) -> None:
        at = rows.to(hidden.device), positions.to(hidden.device)
        states[index] = _active(hidden)[at].detach().to("cpu")

    def reading_hook(index: int) -> Callable[..., None]:
        def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            take(index, hidden_argument(args, kwargs)[0])
            if index == last:
                raise _EnoughCaptured

        return hook

    def output_hook(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        # transformers 5 gives a tensor, 4 and some remote code a tuple.
        take(len(layers), output[0] if isinstance(output, tuple) else output)

    handles = []
    try:
        for index, layer in enumerate(layers):
            if wanted is None or index in wanted:
                handles.append(layer.register_forward_pre_hook(reading_hook(index), with_kwargs=True))
        if last == len(layers):
            handles.append(layers[-1].register_forward_hook(output_hook))
        with suppress(_EnoughCaptured):
            yield states
    finally:
        for handle in handles:
            handle.remove()


def hook_count(layers: Sequence[nn.Module]) -> int:
    """Hooks now on the layers (0 unless a context manager above is open or someone else has put hooks there)."""
    return sum(len(layer._forward_pre_hooks) + len(layer._forward_hooks) for layer in layers)
