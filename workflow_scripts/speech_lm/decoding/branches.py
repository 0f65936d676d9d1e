"""Teacher-forced probabilities of several continuations of one prompt, in one pass (`tree_mask`).

Behind the prompt stand the continuations one after the other, each at the positions it would have as the only one. The
attention mask lets a continuation see the prompt and itself. The last token of a continuation is only predicted, so one
of a single token takes no position at all. The prompt is part of the pass (`branch_log_probs`), or its keys and values
are there already (`cached_branch_log_probs`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from workflow_scripts.speech_lm.anatomy import causal_lm, decoder_of
from workflow_scripts.speech_lm.decoding.batching import consecutive, longest_first, padded_width
from workflow_scripts.speech_lm.decoding.cache_argument import with_cache
from workflow_scripts.speech_lm.decoding.greedy import check_reach
from workflow_scripts.speech_lm.decoding.grouped_cache import GroupedCache
from workflow_scripts.speech_lm.decoding.ragged_cache import RaggedCache
from workflow_scripts.speech_lm.decoding.tree_mask import PADDING, PROMPT, causal, tree_mask
from workflow_scripts.speech_lm.decoding.vocabulary import precise_logits

_LOGIT_ROWS = 256  # rows of the vocabulary product held at once
_PASS_COLUMNS = 256
"""Columns that pass the layers together: more would add padding, fewer read all weights too often (ours)."""


@torch.no_grad()
def branch_log_probs(
    model: nn.Module, prompts: Sequence[Tensor], branches: Sequence[Sequence[Sequence[int]]]
) -> list[list[Tensor]]:
    """ln p(token | prompt, branch before it) of every token of every branch.

    prompts: per row, (T, d) input embeddings. branches: per row, the token ids of each continuation.
    Gives, per row and branch, an (n,) float64 tensor on the CPU. Raises ValueError for an empty branch or no rows.
    """
    if not prompts or len(prompts) != len(branches):
        raise ValueError(f"{len(branches)} lists of branches for {len(prompts)} prompts")
    if any(not branch for row in branches for branch in row):
        raise ValueError("a continuation without tokens has no probability")
    check_reach(model, max(len(p) + max(map(len, row), default=0) for p, row in zip(prompts, branches)))
    embeds, part, position = _packed(model, prompts, branches)
    decoder = decoder_of(model)
    hidden = decoder(
        inputs_embeds=embeds,
        attention_mask=tree_mask(part, part, causal(part.shape[1], part.device), embeds.dtype),
        position_ids=position,
        use_cache=False,
    ).last_hidden_state
    return read_log_probs(model, hidden, [len(prompt) - 1 for prompt in prompts], branches)


def n_columns(branches: Sequence[Sequence[int]]) -> int:
    """Positions that the continuations of one prompt take."""
    return sum(len(branch) - 1 for branch in branches)


@torch.no_grad()
def cached_branch_log_probs(
    model: nn.Module,
    cache: RaggedCache | GroupedCache,
    last: Tensor,
    lengths: Tensor,
    branches: Sequence[Sequence[Sequence[int]]],
    *,
    together: bool = False,
) -> list[list[Tensor]]:
    """As `branch_log_probs`, for prompts whose keys and values are in `cache`.

    last: (B, d) final states at each prompt's last position; lengths: (B,) of the prompts. The cache must have room for
    the longest row's `n_columns`; they may be written over afterwards. Rows of about as many columns pass the layers
    together, over copies of their keys and values: of 64 questions the widest has three times the columns of the mean.
    With `together` all rows pass at once, as hooks want that address the rows of a batch.
    """
    if any(not branch for row in branches for branch in row):
        raise ValueError("a continuation without tokens has no probability")
    widths = [n_columns(row) for row in branches]
    order = longest_first(widths)
    found: list[list[Tensor]] = [[] for _ in branches]
    runs = [slice(None)] if together else consecutive([widths[row] for row in order], _PASS_COLUMNS)
    for run in runs:
        rows = sorted(order[run])
        chosen = torch.tensor(rows, device=last.device)
        some, states = [branches[row] for row in rows], last[chosen][:, None]
        if any(widths[row] for row in rows):
            # Not bound to a name: one copy is gone before the next is made.
            columns = _branch_states(model, _own(cache, chosen, lengths, some), lengths[chosen], some, last.dtype)
            states = torch.cat([states, columns], dim=1)
        for row, values in zip(rows, read_log_probs(model, states, [0] * len(rows), some)):
            found[row] = values
    return found


def _own(
    cache: RaggedCache | GroupedCache, rows: Tensor, lengths: Tensor, branches: Sequence[Sequence[Sequence[int]]]
) -> RaggedCache | GroupedCache:
    """The cache itself for all of its rows, else a copy of these rows as far as their branches reach."""
    if len(rows) == len(lengths):
        return cache
    return cache.copy(rows, capacity=padded_width(int(lengths[rows].max()) + max(map(n_columns, branches))))


def _branch_states(
    model: nn.Module,
    cache: RaggedCache | GroupedCache,
    lengths: Tensor,
    branches: Sequence[Sequence[Sequence[int]]],
    dtype: torch.dtype,
) -> Tensor:
    """Final states (B, widest n_columns, d) of the branches behind the prompts in `cache`."""
    ids = torch.zeros((len(branches), max(map(n_columns, branches))), dtype=torch.long)
    part, depth = torch.full_like(ids, PADDING), torch.zeros_like(ids)
    for index, row in enumerate(branches):
        end = 0
        for number, branch in enumerate(row, start=1):
            start, end = end, end + len(branch) - 1
            ids[index, start:end] = torch.tensor(list(branch[:-1]), dtype=torch.long)
            part[index, start:end] = number
            depth[index, start:end] = torch.arange(end - start)
    device, decoder = lengths.device, decoder_of(model)
    mask = cache.place_branches(lengths, part.to(device), dtype)
    with cache.attention(decoder):
        return decoder(
            inputs_embeds=causal_lm(model).get_input_embeddings()(ids.to(device)),
            attention_mask=mask,
            position_ids=lengths[:, None] + depth.to(device),
            **with_cache(decoder, cache),
        ).last_hidden_state


def read_log_probs(
    model: nn.Module, hidden: Tensor, last: Sequence[int], branches: Sequence[Sequence[Sequence[int]]]
) -> list[list[Tensor]]:
    """As `branch_log_probs`, of final states (B, W, d) in which `last` is each prompt's last column.

    Behind it stand the branches one after the other, each without its last token.
    """
    places, targets = _predictions(last, branches)
    return _split(_log_probs(model, hidden, places, targets), branches)


def _log_probs(model: nn.Module, hidden: Tensor, places: Tensor, targets: Tensor) -> Tensor:
    """(n,) float64 ln p of each target, on the CPU, by the state at its place (row, column) of `hidden` (B, W, d).

    The first tokens of all branches of a prompt have one place: its product with the vocabulary is taken once.
    """
    places, state = places.unique(dim=0, return_inverse=True)
    found = torch.empty(len(targets), dtype=torch.float64)
    for start in range(0, len(places), _LOGIT_ROWS):
        rows, columns = places[start : start + _LOGIT_ROWS].to(hidden.device).unbind(dim=1)
        log_probs = precise_logits(model, hidden[rows, columns]).log_softmax(dim=-1)
        own = (start <= state) & (state < start + _LOGIT_ROWS)
        read = log_probs[(state[own] - start).to(hidden.device), targets[own].to(hidden.device)]
        found[own] = read.double().cpu()
    return found


def _split(log_probs: Tensor, branches: Sequence[Sequence[Sequence[int]]]) -> list[list[Tensor]]:
    """Per row and branch, the values of its tokens."""
    pieces = iter(log_probs.split([len(branch) for row in branches for branch in row]))
    return [[next(pieces) for _ in row] for row in branches]


def _packed(
    model: nn.Module, prompts: Sequence[Tensor], branches: Sequence[Sequence[Sequence[int]]]
) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings (B, W, d), the part each position belongs to (B, W) and its position number (B, W)."""
    table = causal_lm(model).get_input_embeddings()
    first = prompts[0]
    widths = [len(p) + n_columns(row) for p, row in zip(prompts, branches)]
    width = padded_width(max(widths))
    embeds = first.new_zeros((len(prompts), width, first.shape[1]))
    part = torch.full((len(prompts), width), PADDING, device=first.device)
    position = torch.zeros((len(prompts), width), dtype=torch.long, device=first.device)
    for index, (prompt, row) in enumerate(zip(prompts, branches)):
        end = len(prompt)
        embeds[index, :end], part[index, :end] = prompt, PROMPT
        position[index, :end] = torch.arange(end)
        for number, branch in enumerate(row, start=1):
            start, end = end, end + len(branch) - 1
            if start == end:
                continue
            embeds[index, start:end] = table(torch.tensor(list(branch[:-1]), device=first.device))
            part[index, start:end] = number
            position[index, start:end] = len(prompt) + torch.arange(end - start)
    return embeds, part, position


def _predictions(last: Sequence[int], branches: Sequence[Sequence[Sequence[int]]]) -> tuple[Tensor, Tensor]:
    """Row and column (n, 2) of the state that predicts each token, and the token; `last`: each prompt's last column."""
    rows, columns, targets = [], [], []
    for index, (end, row) in enumerate(zip(last, branches)):
        start = end + 1
        for branch in row:
            rows += [index] * len(branch)
            columns += [end, *range(start, start + len(branch) - 1)]
            targets += branch
            start += len(branch) - 1
    return torch.tensor([rows, columns], dtype=torch.long).T, torch.tensor(targets, dtype=torch.long)
