"""Teacher-forced probabilities of several continuations of one prompt, in one pass (ours; the mask is a prefix tree).

A row holds the prompt once and behind it the continuations one after the other, each at the positions it would have as
the only one. The attention mask lets a continuation see the prompt and itself. The last token of a continuation is only
predicted, so one of a single token takes no position at all.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from workflow_scripts.speech_lm.anatomy import causal_lm, decoder_of, vocabulary_logits
from workflow_scripts.speech_lm.generation import check_reach

_WIDTH_STEP = 16
_LOGIT_ROWS = 256  # rows of the vocabulary product held at once
_PROMPT, _PADDING = 0, -1  # numbers of the parts of a row; branches count from 1


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
        attention_mask=_tree_mask(part, embeds.dtype),
        position_ids=position,
        use_cache=False,
    ).last_hidden_state
    rows, columns, targets = _predictions(prompts, branches)
    picked = hidden[rows.to(hidden.device), columns.to(hidden.device)]
    targets = targets.to(hidden.device)
    log_probs = torch.cat(
        [
            -nn.functional.cross_entropy(vocabulary_logits(model, h).float(), t, reduction="none")
            for h, t in zip(picked.split(_LOGIT_ROWS), targets.split(_LOGIT_ROWS))
        ]
    ).double()
    pieces = iter(log_probs.cpu().split([len(branch) for row in branches for branch in row]))
    return [[next(pieces) for _ in row] for row in branches]


def _packed(
    model: nn.Module, prompts: Sequence[Tensor], branches: Sequence[Sequence[Sequence[int]]]
) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings (B, W, d), the part each position belongs to (B, W) and its position number (B, W)."""
    table = causal_lm(model).get_input_embeddings()
    first = prompts[0]
    widths = [len(p) + sum(len(branch) - 1 for branch in row) for p, row in zip(prompts, branches)]
    width = -(-max(widths) // _WIDTH_STEP) * _WIDTH_STEP
    embeds = first.new_zeros((len(prompts), width, first.shape[1]))
    part = torch.full((len(prompts), width), _PADDING, device=first.device)
    position = torch.zeros((len(prompts), width), dtype=torch.long, device=first.device)
    for index, (prompt, row) in enumerate(zip(prompts, branches)):
        end = len(prompt)
        embeds[index, :end], part[index, :end] = prompt, _PROMPT
        position[index, :end] = torch.arange(end)
        for number, branch in enumerate(row, start=1):
            start, end = end, end + len(branch) - 1
            if start == end:
                continue
            embeds[index, start:end] = table(torch.tensor(list(branch[:-1]), device=first.device))
            part[index, start:end] = number
            position[index, start:end] = len(prompt) + torch.arange(end - start)
    return embeds, part, position


def _tree_mask(part: Tensor, dtype: torch.dtype) -> Tensor:
    """Additive (B, 1, W, W) mask: earlier positions of the prompt and of one's own part are seen."""
    width = part.shape[1]
    earlier = torch.ones((width, width), dtype=torch.bool, device=part.device).tril()
    seen = earlier & ((part[:, None, :] == _PROMPT) | (part[:, None, :] == part[:, :, None]))
    mask = torch.zeros(seen.shape, dtype=dtype, device=part.device)
    return mask.masked_fill_(~seen, torch.finfo(dtype).min)[:, None]


def _predictions(
    prompts: Sequence[Tensor], branches: Sequence[Sequence[Sequence[int]]]
) -> tuple[Tensor, Tensor, Tensor]:
    """Row and column of the state that predicts each token of each branch, and the token."""
    rows, columns, targets = [], [], []
    for index, (prompt, row) in enumerate(zip(prompts, branches)):
        start = len(prompt)
        for branch in row:
            rows += [index] * len(branch)
            columns += [len(prompt) - 1, *range(start, start + len(branch) - 1)]
            targets += branch
            start += len(branch) - 1
    return torch.tensor(rows), torch.tensor(columns), torch.tensor(targets)
