"""One batch whose rows keep their keys and values in groups of like length (ours).

Products with weights want many rows; keys and values want rows of one length, because a rectangle as long as the
longest row is mostly padding that every step reads. So all rows pass the layers together, and only attention goes group
by group, each over a `RaggedCache` of its own.

A group's keys and values have to find their queries inside attention: `GroupedCache` hands transformers' attention one
`GroupedStates` in place of a tensor, and `grouped_attention` names the function that understands it. Models with
another attention than torch's (`sdpa`) cannot be grouped.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.cache_utils import Cache, CacheLayerMixin
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from workflow_scripts.speech_lm.decoding.cache_argument import with_cache
from workflow_scripts.speech_lm.decoding.ragged_cache import RaggedCache

logger = logging.getLogger(__name__)

GROUP_ROWS = 16
"""Rows of a group: fewer would save padding, but every group is a call of its own in every layer."""

PLAIN, GROUPED = "sdpa", "grouped_sdpa"


@dataclass(frozen=True, eq=False)
class GroupedStates:
    """Keys or values of one layer, a (rows of the group, heads, visible, head dim) tensor per group of `cache`."""

    parts: tuple[Tensor, ...]
    cache: GroupedCache


class GroupedLayer(CacheLayerMixin):
    """Keys and values of one decoder layer, in the groups' own layers."""

    is_sliding = False
    is_compileable = False
    is_croppable = False

    def __init__(self, grouped: GroupedCache, index: int) -> None:
        super().__init__()
        # A plain reference would be a cycle, and buffers would stay until the garbage collector comes by.
        self.grouped, self.index = weakref.ref(grouped), index

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing: the groups hold the buffers."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[GroupedStates, GroupedStates]:
        """Store (B, heads, n, width) where the rows were placed; give what attention has to see."""
        grouped = self.grouped()
        own = [cache.layers[self.index] for cache in grouped.groups]
        states = zip(own, key_states.split(grouped.sizes), value_states.split(grouped.sizes))
        keys, values = zip(*(layer.update(key, value) for layer, key, value in states))
        return GroupedStates(keys, grouped), GroupedStates(values, grouped)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Length and offset of the keys; not asked for, as masks come ready-made."""
        return query_length, 0

    def get_seq_length(self) -> int:
        """The longest row."""
        return self.grouped().visible

    def get_max_length(self) -> int:
        """Positions allocated for the longest row."""
        return max(cache.capacity for cache in self.grouped().groups)


class GroupedCache(Cache):
    """Several `RaggedCache`s, used like one whose rows are theirs one after the other.

    Args:
        groups: at least one, each with the number of its rows, all of the same layers.
    """

    def __init__(self, groups: Sequence[RaggedCache]) -> None:
        self.groups = list(groups)
        self.masks: list[Tensor] = []
        super().__init__(layers=[GroupedLayer(self, index) for index in range(len(groups[0].layers))])

    @property
    def sizes(self) -> list[int]:
        """Rows of each group."""
        return [cache.n_rows for cache in self.groups]

    @property
    def visible(self) -> int:
        """The longest row."""
        return max(cache.visible for cache in self.groups)

    def place(self, slots: Tensor, dtype: torch.dtype) -> Tensor:
        """As `RaggedCache.place`; the masks are kept for attention, what is given only stands for them."""
        self.masks = [cache.place(some, dtype) for cache, some in zip(self.groups, slots.split(self.sizes))]
        return slots.new_empty((len(slots), 1, 1, 0), dtype=dtype)

    def place_branches(self, lengths: Tensor, part: Tensor, dtype: torch.dtype) -> Tensor:
        """As `RaggedCache.place_branches`; the masks are kept for attention, what is given only stands for them."""
        self.masks = [
            cache.place_branches(some, own, dtype)
            for cache, some, own in zip(self.groups, lengths.split(self.sizes), part.split(self.sizes))
        ]
        return part.new_empty((len(part), 1, 1, 0), dtype=dtype)

    def keep(self, rows: Tensor) -> None:
        """Keep only `rows` (indices, ascending); groups without any are dropped."""
        groups = []
        for cache, own in self._rows_by_group(rows):
            if len(own) < cache.n_rows:
                cache.keep(own)
            groups.append(cache)
        self.groups = groups

    def copy(self, rows: Tensor, capacity: int | None = None) -> GroupedCache:
        """As `RaggedCache.copy`, of rows in ascending order; groups without any are left out."""
        return GroupedCache([cache.copy(own, capacity=capacity) for cache, own in self._rows_by_group(rows)])

    def _rows_by_group(self, rows: Tensor) -> list[tuple[RaggedCache, Tensor]]:
        """The groups that have any of `rows`, each with the numbers that these have in it."""
        ends = list(accumulate(self.sizes, initial=0))
        own = [rows[(rows >= start) & (rows < end)] - start for start, end in pairwise(ends)]
        return [(cache, some) for cache, some in zip(self.groups, own) if len(some)]

    def attention(self, decoder: nn.Module) -> AbstractContextManager[None]:
        """The decoder's passes over this cache go inside: attention goes group by group there."""
        return grouped_attention(decoder)


def grouped_sdpa(
    module: nn.Module,
    query: Tensor,
    key: Tensor | GroupedStates,
    value: Tensor | GroupedStates,
    attention_mask: Tensor | None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """transformers' `sdpa` for each group's queries (B, heads, n, head dim) in turn; gives (B, n, heads, head dim)."""
    if not isinstance(key, GroupedStates):
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    groups = zip(query.split(key.cache.sizes), key.parts, value.parts, key.cache.masks, strict=True)
    return torch.cat([sdpa_attention_forward(module, *group, **kwargs)[0] for group in groups]), None


AttentionInterface.register(GROUPED, grouped_sdpa)
AttentionMaskInterface.register(GROUPED, sdpa_mask)


def row_groups(lengths: Sequence[int]) -> list[slice]:
    """Even groups of at most `GROUP_ROWS` rows one after the other; one group unless the longest come first."""
    n = len(lengths)
    parts = -(-n // GROUP_ROWS) if list(lengths) == sorted(lengths, reverse=True) else 1
    ends = [n * part // parts for part in range(parts + 1)]
    return [slice(start, end) for start, end in pairwise(ends)]


@contextmanager
def grouped_attention(decoder: nn.Module) -> Iterator[None]:
    """While open, the decoder's attention understands `GroupedStates`; it goes on understanding tensors."""
    decoder.set_attn_implementation(GROUPED)
    try:
        yield
    finally:
        decoder.set_attn_implementation(PLAIN)


_can_group: weakref.WeakKeyDictionary[nn.Module, bool] = weakref.WeakKeyDictionary()


def can_group(decoder: nn.Module, device: torch.device) -> bool:
    """Whether all layers attend by torch's `sdpa`, on a CPU: what groups gain elsewhere is not known.

    Found by trying once per decoder: layers may do something of their own with keys and values (DeepSeek's latent
    attention, differential attention), which their configs do not tell.
    """
    if device.type != "cpu":
        return False
    if decoder not in _can_group:
        _can_group[decoder] = _groups_like_one(decoder, device)
    return _can_group[decoder]


@torch.no_grad()
def _groups_like_one(decoder: nn.Module, device: torch.device) -> bool:
    """Whether a step over two groups gives the states of a step over one; says why not in the log."""
    if decoder.config._attn_implementation != PLAIN:
        return False
    weight = next(decoder.parameters())
    embeds = torch.linspace(-1, 1, 5 * decoder.config.hidden_size, device=device).view(1, 5, -1)
    embeds = torch.cat([embeds, -embeds]).to(weight.dtype)
    states = []
    try:
        for sizes in ((2,), (1, 1)):
            parts = []
            for rows in embeds[:, :4].split(sizes):
                parts.append(RaggedCache(len(decoder.layers), 5, n_rows=len(rows)))
                decoder(inputs_embeds=rows, **with_cache(decoder, parts[-1]))
            whole = parts[0] if len(parts) == 1 else GroupedCache(parts)
            slots = torch.full((2,), 4, device=device)
            with whole.attention(decoder):
                mask = whole.place(slots, embeds.dtype)
                given = {"attention_mask": mask, "position_ids": slots[:, None], **with_cache(decoder, whole)}
                states.append(decoder(inputs_embeds=embeds[:, 4:], **given).last_hidden_state.float())
        same = torch.allclose(*states, rtol=1e-2, atol=1e-2 * float(states[0].abs().max()))
        fault = None if same else "its states differ from those of one group"
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        fault = f"{type(error).__name__}: {error}"
    if fault is not None:
        logger.info(
            "%s: keys and values are not kept in groups, long answers are slower: %s", type(decoder).__name__, fault
        )
    return fault is None
