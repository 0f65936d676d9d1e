"""A key-value cache for rows of different length, filled at each row's own next position.

transformers' caches keep one length for the whole batch, which forces left padding and a mask already at prefill, and
grow by copying. Here rows are right-padded at prefill (plain causal attention, no mask: the fast kernel), every row
then writes its next key and value over its own padding, and the buffers are allocated once.
"""

from __future__ import annotations

import math
import mmap
import weakref
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress

import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache, CacheLayerMixin

from workflow_scripts.speech_lm.decoding.batching import padded_width
from workflow_scripts.speech_lm.decoding.tree_mask import PROMPT, tree_mask

_OWN_PAGES_BYTES = 2**20


class RaggedLayer(CacheLayerMixin):
    """Keys and values of one decoder layer: (B, heads, capacity, head dim), B shrinking as rows are dropped."""

    is_sliding = False
    is_compileable = False
    is_croppable = False

    def __init__(self, cache: RaggedCache, whole: RaggedLayer | None = None, rows: slice = slice(None)) -> None:
        super().__init__()
        # A plain reference would be a cycle, and buffers would stay until the garbage collector comes by.
        self.cache = weakref.proxy(cache)
        self.whole, self.rows = whole, rows

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Allocate the buffers from the shape of the first keys and values, or share those of the whole layer."""
        if self.whole is None:
            shape = (self.cache.n_rows or len(key_states), key_states.shape[1], self.cache.capacity)
            self.keys = zeros((*shape, key_states.shape[-1]), key_states)
            self.values = zeros((*shape, value_states.shape[-1]), value_states)
        else:
            if not self.whole.is_initialized:
                self.whole.lazy_initialization(key_states, value_states)
            self.keys, self.values = self.whole.keys[self.rows], self.whole.values[self.rows]
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args, **kwargs) -> tuple[Tensor, Tensor]:
        """Store (B, heads, n, width), n = prompt at prefill, as placed afterwards; return what attention has to see."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            n_prompt = key_states.shape[-2]
            self.keys[:, :, :n_prompt] = key_states
            self.values[:, :, :n_prompt] = value_states
            return key_states, value_states
        if self.cache.slots is None or key_states.shape[-2] != self.cache.slots.shape[1]:
            placed = None if self.cache.slots is None else self.cache.slots.shape[1]
            raise ValueError(f"{key_states.shape[-2]} positions come after prefill, but {placed} were placed")
        rows, slots = self.cache.rows, self.cache.slots
        self.keys[rows, :, slots] = key_states.transpose(1, 2)
        self.values[rows, :, slots] = value_states.transpose(1, 2)
        visible = self.cache.visible
        return self.keys[:, :, :visible], self.values[:, :, :visible]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Length and offset of the keys; transformers asks for it only when it builds the prefill mask itself."""
        return query_length, 0

    def get_seq_length(self) -> int:
        """0 until rows are placed, afterwards the longest of them."""
        return self.cache.visible if self.is_initialized else 0

    def get_max_length(self) -> int:
        """Positions allocated."""
        return self.cache.capacity

    def keep(self, rows: Tensor) -> None:
        """Drop all other rows."""
        if self.is_initialized:
            self.keys, self.values = self.keys[rows], self.values[rows]


class RaggedCache(Cache):
    """One `RaggedLayer` per decoder layer and the bookkeeping they share.

    Call `place` before every decode step; it returns the attention mask of that step.

    Args:
        capacity: positions of a row.
        n_rows: if the rows are filled in parts (`part`); default: as many as come first.
    """

    def __init__(self, n_layers: int, capacity: int, n_rows: int | None = None) -> None:
        self.capacity, self.n_rows = capacity, n_rows
        self.rows: Tensor | None = None
        self.slots: Tensor | None = None
        self.visible = 0
        super().__init__(layers=[RaggedLayer(self) for _ in range(n_layers)])

    def place(self, slots: Tensor, dtype: torch.dtype) -> Tensor:
        """Row b will write at `slots[b]` ((B,), or (B, n) for a block); gives the additive (B, 1, n, K) mask.

        Position slots[b, c] sees 0 .. slots[b, c]. K is rounded up to 16 within the capacity, so that kernels meet few
        different shapes.
        """
        slots = slots if slots.ndim == 2 else slots[:, None]
        self._place(slots)
        earlier = self._earlier(slots)
        mask = torch.zeros(earlier.shape, dtype=dtype, device=slots.device)
        return mask.masked_fill_(~earlier, torch.finfo(dtype).min)[:, None]

    def place_branches(self, lengths: Tensor, part: Tensor, dtype: torch.dtype) -> Tensor:
        """Like `place`, for a block of columns behind each prompt of which only those of equal `part` see each other.

        lengths: (B,) prompt lengths; part: (B, n) number of the branch each column belongs to. Column c of row b is
        stored at lengths[b] + c; it sees the prompt and the earlier columns of its branch.
        """
        n = part.shape[1]
        slots = lengths[:, None] + torch.arange(n, device=lengths.device)
        self._place(slots)
        column = torch.arange(self.visible, device=lengths.device) - lengths[:, None]  # (B, K); negative: the prompt
        keys = part.gather(1, column.clamp(0, n - 1)).masked_fill(column < 0, PROMPT)
        return tree_mask(part, keys, self._earlier(slots), dtype)

    def _place(self, slots: Tensor) -> None:
        self.rows = torch.arange(len(slots), device=slots.device)[:, None]
        self.slots = slots
        self.visible = min(padded_width(int(slots.max()) + 1), self.capacity)

    def _earlier(self, slots: Tensor) -> Tensor:
        """(B, n, K) bool: slots[b, c] and what is before it."""
        return torch.arange(self.visible, device=slots.device) <= slots[..., None]

    def copy(self, rows: Tensor, from_layer: int = 0, capacity: int | None = None) -> RaggedCache:
        """A cache of its own with copies of `rows` (indices, repeats allowed), for layers `from_layer` and up.

        Layers below share this cache's buffers: they must be neither run nor written. With `capacity` only so many
        positions are copied.
        """
        capacity = self.capacity if capacity is None else min(capacity, self.capacity)
        copied = RaggedCache(len(self.layers), capacity, n_rows=len(rows))
        for index, (layer, source) in enumerate(zip(copied.layers, self.layers)):
            shared = index < from_layer
            states = (source.keys, source.values)
            layer.keys, layer.values = (kept if shared else kept[rows, :, :capacity] for kept in states)
            layer.is_initialized = True
        copied.visible = min(self.visible, capacity)
        return copied

    def part(self, rows: slice) -> RaggedCache:
        """A cache of some rows that stores into this one: prompts are run in parts, answers for all rows at once."""
        part = RaggedCache(len(self.layers), self.capacity)
        part.layers = [RaggedLayer(part, whole, rows) for whole in self.layers]
        return part

    def begin_with(self, beginning: RaggedCache) -> None:
        """Store the only row of `beginning` as the first positions of every row; nothing may be stored before."""
        for layer, source in zip(self.layers, beginning.layers):
            layer.lazy_initialization(source.keys, source.values)
            layer.keys[:, :, : beginning.capacity] = source.keys
            layer.values[:, :, : beginning.capacity] = source.values

    def attention(self, decoder: nn.Module) -> AbstractContextManager[None]:
        """The decoder's passes over this cache go inside: here attention is the decoder's own."""
        return nullcontext()

    def keep(self, rows: Tensor) -> None:
        """Keep only `rows` (indices, in this order) in every layer."""
        self.n_rows = len(rows)
        for layer in self.layers:
            layer.keep(rows)


def zeros(shape: Sequence[int], like: Tensor) -> Tensor:
    """Zeros of `shape` with dtype and device of `like`.

    Large ones on the CPU are pages of their own: the system hands them out as zeros when they are first written, in
    large pages where it can, and has them back as soon as the tensor is gone. The process's allocator would fill them
    first and keep them afterwards.
    """
    n_bytes = math.prod(shape) * like.dtype.itemsize
    if like.device.type != "cpu" or n_bytes < _OWN_PAGES_BYTES:
        return like.new_zeros(shape)
    pages = mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel without large pages
            pages.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(pages, dtype=like.dtype).view(shape)
