"""Logits in float32 at the positions that are read, whatever format the model computes in.

bfloat16 has steps of 0.125 to 0.25 between 32 and 64, where logits of a likely token are: the most likely tokens often
come out equal, and probabilities are off by as much. The states that a model gives are what they are; the product with
the vocabulary is taken of them in float32.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from workflow_scripts.speech_lm.anatomy import causal_lm, scaled_logits, vocabulary_logits

_CHUNK = 2048  # rows of the vocabulary in float32 at once: they stay in the cache
_CANDIDATES = 32
_MARGIN = 2**-6
"""Share of the largest logit by which two rounded products can be off: four times the rounding of bfloat16."""


def precise_logits(model: nn.Module, hidden: Tensor) -> Tensor:
    """(..., d) states after the final norm -> (..., V) float32 logits, with the model's own scaling and soft cap."""
    head = causal_lm(model).get_output_embeddings()
    if not _rounds(head, hidden):
        return vocabulary_logits(model, hidden).float()
    wide = hidden.float()
    product = torch.cat([nn.functional.linear(wide, rows.float()) for rows in head.weight.split(_CHUNK)], dim=-1)
    return scaled_logits(model, product if head.bias is None else product + head.bias.float())


def most_likely(model: nn.Module, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of states (B, d): the most likely id (lowest of equals), whether its logit is finite, whether others equal it.

    The same ids as the largest of `precise_logits`: of a product in the model's format only the candidates within its
    rounding are taken again.
    """
    head = causal_lm(model).get_output_embeddings()
    if not _rounds(head, hidden):
        return _largest(vocabulary_logits(model, hidden).float())
    rough = head(hidden).float()
    values, ids = rough.topk(min(_CANDIDATES, rough.shape[1]), dim=1)
    ids = ids.sort(dim=1).values
    exact = torch.einsum("bd,bkd->bk", hidden.float(), head.weight[ids].float())
    exact = exact if head.bias is None else exact + head.bias[ids].float()
    chosen, finite, tied = _largest(exact)
    chosen = ids.gather(1, chosen[:, None])[:, 0]
    # Where more tokens than the candidates come near the largest, all are taken.
    near = values[:, -1] >= values[:, 0] - _MARGIN * values[:, 0].abs().clamp_min(1)
    for row in (near & finite & (rough.shape[1] > _CANDIDATES)).nonzero()[:, 0].tolist():
        chosen[row : row + 1], _, tied[row : row + 1] = _largest(precise_logits(model, hidden[row : row + 1]))
    return chosen, finite, tied


def _largest(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    chosen = logits.argmax(dim=-1)  # the place of a NaN if there is one
    value = logits.gather(1, chosen[:, None])
    return chosen, value[:, 0].isfinite(), (logits == value).sum(dim=1) > 1


def _rounds(head: nn.Module, hidden: Tensor) -> bool:
    """Whether the product of a plain head would be rounded to less than float32."""
    return type(head) is nn.Linear and hidden.dtype in (torch.bfloat16, torch.float16)
