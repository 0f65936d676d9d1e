"""The logit lens: final norm and vocabulary product on the states of any layer (nostalgebraist 2020)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.speech_lm.anatomy import vocabulary_logits
from workflow_scripts.speech_lm.families.base import DecoderSpeechLM

LOWEST_RANK = 1001
"""Stands for all ranks behind the first thousand: finding those is cheap, sorting the vocabulary is not."""
POSITIONS = 64
"""Positions whose logits over the whole vocabulary are in memory at once."""


@torch.no_grad()
def lens_ranks(lm: DecoderSpeechLM, states: Tensor, tokens: Sequence[int]) -> np.ndarray:
    """Rank of each of `tokens` in the lens, 1 the most likely: (layers, T, tokens) int32 of `states` (layers, T, d).

    Equal logits all have the lowest of their ranks: where all are equal (a zero state), nothing is recalled.
    """
    wanted = torch.tensor(list(tokens), dtype=torch.int64)
    ranks = np.empty((*states.shape[:2], len(wanted)), dtype=np.int32)
    for layer, rows in enumerate(states):
        for start in range(0, len(rows), POSITIONS):
            part = rows[start : start + POSITIONS].to(lm.device, lm.dtype)
            logits = vocabulary_logits(lm.model, lm.final_norm(part)).float()
            most = min(LOWEST_RANK, logits.shape[1])
            best = logits.topk(most, dim=1).values.flip(1).contiguous()
            below = torch.searchsorted(best, logits[:, wanted.to(logits.device)].contiguous())
            ranks[layer, start : start + POSITIONS] = (most - below).cpu().numpy()
    return ranks
