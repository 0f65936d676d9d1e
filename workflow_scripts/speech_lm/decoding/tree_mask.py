"""The attention mask of several continuations of one prompt in one row (a prefix tree)."""

from __future__ import annotations

import torch
from torch import Tensor

PROMPT, PADDING = 0, -1
"""Numbers of the parts of a row; its continuations are 1, 2, ..."""


def tree_mask(queries: Tensor, keys: Tensor, earlier: Tensor, dtype: torch.dtype) -> Tensor:
    """Additive (B, 1, n, K) mask: a position sees what is `earlier` in the prompt and in its own continuation.

    queries (B, n), keys (B, K): the part that each position belongs to. earlier: bool, of a shape that broadcasts to
    (B, n, K).
    """
    seen = earlier & ((keys[:, None, :] == PROMPT) | (keys[:, None, :] == queries[:, :, None]))
    mask = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
    return mask.masked_fill_(~seen, torch.finfo(dtype).min)[:, None]


def causal(width: int, device: torch.device) -> Tensor:
    """(width, width) bool: row t sees columns 0 .. t."""
    return torch.ones((width, width), dtype=torch.bool, device=device).tril()
