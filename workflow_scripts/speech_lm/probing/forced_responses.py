"""Given answers after a query, teacher-forced: next-token logits and the states of their tokens, one forward pass.

All answers of a query share its prompt, which is most of the work: they stand one behind the other in one row, each
seeing the prompt and itself only, at the positions that it would have alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from workflow_scripts.speech_lm.decoding.tree_mask import PADDING, PROMPT, causal, tree_mask
from workflow_scripts.speech_lm.decoding.vocabulary import precise_logits
from workflow_scripts.speech_lm.families.base import DecoderSpeechLM
from workflow_scripts.speech_lm.hooks import captured_states
from workflow_scripts.speech_lm.protocol import Query


@dataclass(frozen=True, eq=False)
class ForcedResponse:
    """logits (K, V) float32: row k predicts answer token k; states (L+1, K, d) float32 of the answer tokens."""

    logits: np.ndarray
    states: np.ndarray


@torch.no_grad()
def forced_responses(
    lm: DecoderSpeechLM, queries: Sequence[Query], answers: Sequence[Sequence[Sequence[int]]]
) -> list[list[ForcedResponse]]:
    """Responses to `queries`, any number of answers of K >= 1 token ids to each: `answers[i][a]` -> `result[i][a]`.

    Raises ValueError for an empty answer or unless there is one list of answers per query.
    """
    if len(answers) != len(queries) or not all(len(ids) for own in answers for ids in own):
        raise ValueError(f"{len(queries)} queries need as many lists of answers, of at least one token each")
    embeds, lengths = lm.pad_queries(queries, None, following=[[i for ids in own for i in ids] for own in answers])
    width = embeds.shape[1]
    rows, tokens, before = [], [], []
    part = torch.full((len(queries), width), PROMPT)
    positions = torch.arange(width).repeat(len(queries), 1)
    for row, (start, own) in enumerate(zip(lengths, answers)):
        place = start
        for number, ids in enumerate(own, start=1):
            span = torch.arange(place, place + len(ids))
            part[row, span], positions[row, span] = number, torch.arange(start, start + len(ids))
            rows += [row] * len(ids)
            tokens += span.tolist()
            before += [start - 1, *span[:-1].tolist()]
            place += len(ids)
        part[row, place:] = PADDING
    index = torch.tensor(rows), torch.tensor(tokens)
    with captured_states(lm.decoder_layers, *index) as states:
        hidden = lm.decoder(
            inputs_embeds=embeds,
            attention_mask=tree_mask(part, part, causal(width, part.device), embeds.dtype).to(embeds.device),
            position_ids=positions.to(embeds.device),
            use_cache=False,
        ).last_hidden_state
    picked = hidden[index[0].to(hidden.device), torch.tensor(before).to(hidden.device)]
    stacked = torch.stack([state for state in states if state is not None]).float()
    found: list[list[ForcedResponse]] = []
    start = 0
    for own in answers:
        found.append([])
        for ids in own:
            end = start + len(ids)
            logits = precise_logits(lm.model, picked[start:end]).cpu().numpy()
            found[-1].append(ForcedResponse(logits, stacked[:, start:end].numpy()))
            start = end
    return found
