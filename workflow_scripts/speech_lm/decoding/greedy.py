"""Greedy decoding of a right-padded batch with a cache that lets every row keep its own length."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from workflow_scripts.speech_lm.anatomy import causal_lm, decoder_of, sliding_window_of
from workflow_scripts.speech_lm.decoding.batching import consecutive, padded_width
from workflow_scripts.speech_lm.decoding.cache_argument import with_cache
from workflow_scripts.speech_lm.decoding.grouped_cache import GroupedCache, can_group, row_groups
from workflow_scripts.speech_lm.decoding.packed_linears import packed_linears
from workflow_scripts.speech_lm.decoding.ragged_cache import RaggedCache
from workflow_scripts.speech_lm.decoding.vocabulary import most_likely
from workflow_scripts.speech_lm.hooks import edited_inputs
from workflow_scripts.speech_lm.protocol import Edit, SpeechLMError

# The batch shrinks only to these sizes, so that kernels meet few different shapes.
_BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

PASS_POSITIONS = 768
"""Positions that pass the layers together: products of so many rows are efficient, more would only add padding."""

MIN_SAVED = 64
"""Positions that a common beginning must save to be run apart: its pass, of one row, costs about a decoding step."""


@dataclass(frozen=True)
class Decoded:
    """New ids of one row without the stop id, why it ended ("stop" or "length"), and how many steps ended in a tie."""

    token_ids: tuple[int, ...]
    finish_reason: str
    ties: int = 0


class NotFiniteError(FloatingPointError):
    """A model's logits are NaN or infinite; `row` is the row of the batch."""

    def __init__(self, row: int) -> None:
        super().__init__(f"the logits of row {row} are not finite")
        self.row = row


@torch.no_grad()
def greedy(
    model: nn.Module,
    embeds: Tensor,
    lengths: Sequence[int],
    *,
    max_new_tokens: int,
    stop_ids: Collection[int],
    edits: Sequence[Sequence[Edit]] | None = None,
) -> list[Decoded]:
    """`prefill` and `continue_greedily`, for prompts and answers that the model's positions and windows reach."""
    check_length(max_new_tokens)
    check_reach(model, embeds.shape[1] + max_new_tokens)
    with packed_linears(model, n_steps=max_new_tokens, n_rows=len(lengths)):
        cache, hidden, slots = prefill(model, embeds, lengths, following=max_new_tokens, edits=edits)
        return continue_greedily(model, cache, hidden, slots, max_new_tokens=max_new_tokens, stop_ids=stop_ids)


@torch.no_grad()
def prefill(
    model: nn.Module,
    embeds: Tensor,
    lengths: Sequence[int],
    *,
    following: int,
    edits: Sequence[Sequence[Edit]] | None = None,
) -> tuple[RaggedCache | GroupedCache, Tensor, Tensor]:
    """Keys and values of right-padded prompts, with room for `following` positions behind the longest.

    embeds: (B, T, d) input embeddings; lengths: (B,) real positions. Edits act here only; later steps see them through
    the cache. A few rows at a time pass the layers; with the longest rows first little padding is computed, and keys
    and values are kept in groups of like length (`GroupedCache`). What all rows begin with (a chat template's system
    prompt) is run once, for one row, unless there are edits.

    Gives the cache, the final states (B, d) at each row's last position, and `lengths` as a tensor. Raises
    SpeechLMError for layers with another kind of cache. That the model's positions reach (`check_reach`) is the
    caller's to check.
    """
    decoder = decoder_of(model)
    n_layers = len(decoder.layers)
    shared = 0 if edits is not None else common_beginning(embeds, lengths)
    beginning = None
    if shared * (len(embeds) - 1) >= MIN_SAVED:
        beginning = RaggedCache(n_layers, shared)
        decoder(inputs_embeds=embeds[:1, :shared], **with_cache(decoder, beginning))
        _check_cache(decoder, beginning)
    caches, ends = [], []
    groups = row_groups(lengths)
    if len(groups) > 1 and not can_group(decoder, embeds.device):
        groups = [slice(0, len(lengths))]
    for group in groups:
        longest = _width(lengths[group], embeds)
        cache = RaggedCache(n_layers, longest + following, n_rows=group.stop - group.start)
        for rows in consecutive(lengths[group], PASS_POSITIONS):
            part, own = cache.part(rows), slice(group.start + rows.start, group.start + rows.stop)
            with edited_inputs(decoder.layers, None if edits is None else edits[own]):
                ends.append(_pass(decoder, part, embeds[own, : _width(lengths[own], embeds)], lengths[own], beginning))
            _check_cache(decoder, part)
        caches.append(cache)
    whole = caches[0] if len(caches) == 1 else GroupedCache(caches)
    return whole, torch.cat(ends), torch.tensor(list(lengths), device=embeds.device)


def _width(lengths: Sequence[int], embeds: Tensor) -> int:
    return min(padded_width(max(lengths)), embeds.shape[1])


def _pass(
    decoder: nn.Module, cache: RaggedCache, embeds: Tensor, lengths: Sequence[int], beginning: RaggedCache | None
) -> Tensor:
    """Fill the empty `cache` with right-padded prompts; `beginning` has their first positions. Gives (B, d) states."""
    shared, last = 0, torch.tensor(lengths, device=embeds.device) - 1
    further: dict[str, Tensor] = {}
    if beginning is not None:
        shared = beginning.capacity
        cache.begin_with(beginning)
        places = torch.arange(shared, embeds.shape[1], device=embeds.device).repeat(len(embeds), 1)
        further = {"attention_mask": cache.place(places, embeds.dtype), "position_ids": places}
    hidden = decoder(inputs_embeds=embeds[:, shared:], **with_cache(decoder, cache), **further).last_hidden_state
    return hidden[torch.arange(len(last), device=embeds.device), last - shared]


def common_beginning(embeds: Tensor, lengths: Sequence[int]) -> int:
    """Positions, from the first on, at which all rows of (B, T, d) are equal bit for bit; a row's last is never one."""
    end = min(lengths) - 1
    unequal = (embeds[:, :end] != embeds[:1, :end]).any(dim=-1).any(dim=0).nonzero()
    return int(unequal[0]) if len(unequal) else end


def _check_cache(decoder: nn.Module, cache: RaggedCache) -> None:
    """Raise SpeechLMError for layers that put nothing into the cache during prefill."""
    if not all(layer.is_initialized for layer in cache.layers):
        unused = [index for index, layer in enumerate(cache.layers) if not layer.is_initialized]
        raise SpeechLMError(
            f"{type(decoder).__name__}: layers {unused} keep their state outside the cache; "
            "this decoder loop cannot serve them, write an adapter class with its own generate"
        )


@torch.no_grad()
def continue_greedily(
    model: nn.Module,
    cache: RaggedCache | GroupedCache,
    hidden: Tensor,
    slots: Tensor,
    *,
    max_new_tokens: int,
    stop_ids: Collection[int],
) -> list[Decoded]:
    """Most likely continuation of every row, one token at a time, after a `prefill`; the cache is used up.

    hidden: (B, d) final states at each row's last prompt position. slots: (B,) prompt lengths, where the first answer
    token is stored. Argmax in float32; on ties the lowest id wins. A row ends at the first id in `stop_ids` (not kept)
    or after `max_new_tokens`. Raises NotFiniteError, ValueError for fewer than one token.
    """
    check_length(max_new_tokens)
    decoder, embed = decoder_of(model), causal_lm(model).get_input_embeddings()
    rows = list(range(len(slots)))  # original row of every row still in the batch
    answers: list[list[int]] = [[] for _ in rows]
    ties = [0] * len(rows)
    reasons: dict[int, str] = {}
    with packed_linears(model, n_steps=max_new_tokens, n_rows=len(slots)), cache.attention(decoder):
        for step in range(max_new_tokens):
            chosen, finite, tied = most_likely(model, hidden)
            if broken := [row for row, fine in zip(rows, finite.tolist()) if not fine and row not in reasons]:
                raise NotFiniteError(broken[0])
            for row, token, tie in zip(rows, chosen.tolist(), tied.tolist()):
                if row in reasons:
                    continue
                ties[row] += tie
                if token in stop_ids:
                    reasons[row] = "stop"
                else:
                    answers[row].append(token)
            active = [index for index, row in enumerate(rows) if row not in reasons]
            if not active or step == max_new_tokens - 1:
                break
            kept = _shrink(len(rows), active)
            if kept is not None:
                keep = torch.tensor(kept, device=hidden.device)
                cache.keep(keep)
                slots, chosen = slots[keep], chosen[keep]
                rows = [rows[index] for index in kept]
            mask = cache.place(slots, hidden.dtype)
            hidden = decoder(
                inputs_embeds=embed(chosen[:, None]),
                attention_mask=mask,
                position_ids=slots[:, None],
                **with_cache(decoder, cache),
            ).last_hidden_state[:, 0]
            slots = slots + 1
    return [Decoded(tuple(ids), reasons.get(row, "length"), ties[row]) for row, ids in enumerate(answers)]


def check_length(max_new_tokens: int) -> None:
    """Raise ValueError if an answer may have no token."""
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens is {max_new_tokens}; it must be at least 1")


def check_reach(model: nn.Module, n_positions: int) -> None:
    """Raise SpeechLMError if `n_positions` exceed what the model's positions or sliding window cover."""
    config = causal_lm(model).config.get_text_config()
    limit = getattr(config, "max_position_embeddings", None)
    if limit is not None and n_positions > limit:
        raise SpeechLMError(f"{n_positions} positions are more than the model's {limit}; shorten prompt or answer")
    window = sliding_window_of(model)
    if window is not None and n_positions > window:
        raise SpeechLMError(
            f"{n_positions} positions are more than the model's sliding window of {window}; inside the window "
            "sliding and full attention are the same, beyond it this decoder loop does not apply"
        )


def _shrink(n_rows: int, active: list[int]) -> list[int] | None:
    """Batch indices to keep when enough rows have finished, else None.

    Finished rows fill the batch up to the next allowed size and go on computing unused tokens.
    """
    size = next((size for size in _BATCH_SIZES if size >= len(active)), n_rows)
    if size >= n_rows:
        return None
    finished = [index for index in range(n_rows) if index not in set(active)]
    return sorted(active + finished[: size - len(active)])
