"""A given answer after a query, teacher-forced: next-token logits and the states of its tokens, one forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from workflow_scripts.speech_lm.anatomy import vocabulary_logits
from workflow_scripts.speech_lm.base import DecoderSpeechLM
from workflow_scripts.speech_lm.hooks import captured_states
from workflow_scripts.speech_lm.protocol import Query


@dataclass(frozen=True, eq=False)
class ForcedResponse:
    """logits (K, V) float32: row k predicts answer token k; states (L+1, K, d) float32 of the answer tokens."""

    logits: np.ndarray
    states: np.ndarray


@torch.no_grad()
def forced_responses(
    lm: DecoderSpeechLM, queries: Sequence[Query], answers: Sequence[Sequence[int]]
) -> list[ForcedResponse]:
    """Responses to `queries` with the token ids `answers[i]`, K_i >= 1 each, as one right-padded batch.

    Raises ValueError for an empty answer or as many answers as there are not queries.
    """
    if len(answers) != len(queries) or not all(len(ids) for ids in answers):
        raise ValueError(f"{len(queries)} queries need as many answers of at least one token each")
    embeds, lengths = lm._pad(queries, None, following=answers)
    counts = [len(ids) for ids in answers]
    rows = torch.repeat_interleave(torch.arange(len(answers)), torch.tensor(counts))
    tokens = torch.cat([torch.arange(start, start + n) for start, n in zip(lengths, counts)])
    with captured_states(lm.decoder_layers, rows, tokens) as states:
        hidden = lm.decoder(inputs_embeds=embeds, use_cache=False).last_hidden_state
    before = hidden[rows.to(hidden.device), (tokens - 1).to(hidden.device)]
    stacked = torch.stack([state for state in states if state is not None]).float()
    found = []
    for part, own in zip(before.split(counts), stacked.split(counts, dim=1)):
        found.append(ForcedResponse(vocabulary_logits(lm.model, part).float().cpu().numpy(), own.numpy()))
    return found
