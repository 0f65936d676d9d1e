"""One batch of questions in one form: where their answers look, and their outcomes when they cannot look there (ours).

Shares of attention and attention knockout (Geva et al., arXiv 2304.14767) read the same runs: the prompt with the
model's own attention, once, and behind it the answer, forced. The knockout hides the query from the prompt's last
position and from the answer's tokens, in a window of layers; all other positions see what they always see, so what the
template has read of the query still arrives.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.artifacts.attention import LOOKED_AT, AttentionRecord, KnockoutRecord
from workflow_scripts.patching.outcomes import Outcome
from workflow_scripts.patching.sweep import MOST_POSITIONS, MOST_ROWS
from workflow_scripts.settings.patching import AttentionSettings
from workflow_scripts.speech_lm.decoding.batching import batches
from workflow_scripts.speech_lm.decoding.branches import n_columns
from workflow_scripts.speech_lm.families.base import DecoderSpeechLM
from workflow_scripts.speech_lm.probing.attention import NoAttentionError, attention_sums, hidden_positions
from workflow_scripts.speech_lm.probing.edited_prompts import SharedPrompts
from workflow_scripts.speech_lm.protocol import Query

NO_CONTROL = "no other position to hide"
Window = tuple[int, int]
"""First layer, number of layers."""


@dataclass(frozen=True)
class Asked:
    """One question in one form: as recorded, its prompt and what is read."""

    id: str
    kind: str
    query: Query
    outcome: Outcome


def windows_of(n_layers: int, window: int, stride: int) -> list[Window]:
    """Windows at every `stride`-th layer, one that ends at the last layer, and all layers at once."""
    size = min(window, n_layers)
    last = n_layers - size
    return [(first, size) for first in sorted({*range(0, last + 1, stride), last})] + [(0, n_layers)] * (last > 0)


def classes(query: Query, n_positions: int) -> np.ndarray:
    """(C, n_positions) bool: which positions belong to each class of `LOOKED_AT`; every position to one.

    A query that begins at position 0 leaves `first` and `before` empty.
    """
    place, (start, end) = np.arange(n_positions), query.span
    bounds = [0, min(1, start), start, end, query.length, n_positions]
    return np.array([(low <= place) & (place < high) for low, high in pairwise(bounds)])


def hideable(query: Query) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the query, and the others that a control can hide; neither has the prompt's last position.

    Position 0 is no control: many heads park what they do not need there, so hiding it breaks whatever they do.
    """
    start, end = query.span
    others = [place for place in range(1, query.length - 1) if not start <= place < end]
    return np.arange(start, min(end, query.length - 1)), np.array(others, dtype=np.int64)


class FormBatch:
    """A batch of questions in one form, from one pass over their prompts.

    Raises:
        SpeechLMError: logits are not finite, or the model's layers cannot be run from a shared prefill.
    """

    def __init__(
        self, lm: DecoderSpeechLM, form: str, asked: Sequence[Asked], settings: AttentionSettings, seed: int
    ) -> None:
        self.lm, self.form, self.asked, self.draws, self.seed = lm, form, asked, settings.draws, seed
        self.windows = windows_of(lm.n_layers, settings.window, settings.stride)
        self.branches = [one.outcome.branches for one in asked]
        room = max(1, *map(n_columns, self.branches))
        queries = [one.query for one in asked]
        layers = sorted({0, *(first for first, _ in self.windows)})
        self.shared = SharedPrompts(lm, queries, [None] * len(queries), max_new_tokens=room, layers=layers)

    def attention(self) -> list[AttentionRecord]:
        """Shares of every question; of a model whose attention gives no weights, why there are none."""
        groups = np.stack([classes(one.query, self.shared.cache.capacity) for one in self.asked])
        answers = [one.outcome.answer for one in self.asked]
        weights = torch.from_numpy(groups).to(self.lm.device, torch.float32)
        try:
            sums = attention_sums(self.shared, range(len(self.asked)), answers, weights)
        except NoAttentionError as error:
            return [AttentionRecord(id=one.id, kind=one.kind, form=self.form, skipped=str(error)) for one in self.asked]
        return [self._attention(*one) for one in zip(self.asked, groups, sums)]

    def _attention(self, one: Asked, groups: np.ndarray, sums: Tensor) -> AttentionRecord:
        """sums: (L, heads, rows, C)."""
        by_head = sums.mean(dim=2).clamp(max=1.0)
        n_rows = sums.shape[2]
        # Row r stands at the prompt's last position + r and sees itself and what is before it.
        seen = np.array([groups[:, : one.query.length + row].mean(axis=1) for row in range(n_rows)]).mean(axis=0)
        return AttentionRecord(
            id=one.id,
            kind=one.kind,
            form=self.form,
            n_rows=n_rows,
            uniform=dict(zip(LOOKED_AT, seen.tolist())),
            shares=dict(zip(LOOKED_AT, by_head.mean(dim=1).T.tolist())),
            highest=dict(zip(LOOKED_AT, by_head.amax(dim=1).T.tolist())),
        )

    def knockout(self) -> list[KnockoutRecord]:
        """Outcomes of every question under all windows; of a model whose layers take no mask, why there are none."""
        hidden = [self._hidden(one) for one in self.asked]
        rows = [(place, source) for place, sources in enumerate(hidden) for source in range(len(sources))]
        try:
            base = self._outcomes([(place, 0) for place in range(len(self.asked))], None, (0, 0))
            found = [dict(zip(rows, self._outcomes(rows, hidden, window))) for window in self.windows]
        except NoAttentionError as error:
            return [self._skip(one, str(error)) for one in self.asked]
        records = []
        for place, (one, sources) in enumerate(zip(self.asked, hidden)):
            if not sources:
                records.append(self._skip(one, NO_CONTROL))
                continue
            values, *controls = ([window[place, source] for window in found] for source in range(len(sources)))
            records.append(
                KnockoutRecord(
                    id=one.id,
                    kind=one.kind,
                    form=self.form,
                    outcome=one.outcome.name,
                    base=base[place],
                    n_positions=len(sources[0]),
                    n_control=len(sources[1]),
                    windows=self.windows,
                    values=values,
                    controls=controls,
                )
            )
        return records

    def _hidden(self, one: Asked) -> list[np.ndarray]:
        """The positions that are hidden: those of the query, then each draw of the control; empty without others."""
        query, others = hideable(one.query)
        if not len(others) or not len(query):
            return []
        # Where others are few the control has them all, and every draw would be the same.
        draws = self.draws if len(others) > len(query) else 1
        key = [self.seed, zlib.crc32(one.id.encode()), zlib.crc32(self.form.encode())]
        rng = np.random.default_rng(key)
        return [query, *(rng.permutation(others)[: len(query)] for _ in range(draws))]

    def _outcomes(
        self, rows: Sequence[tuple[int, int]], hidden: Sequence[Sequence[np.ndarray]] | None, window: Window
    ) -> list[float]:
        """The outcome of each row, (place of the question, what is hidden), in their order."""
        first, n = window
        lengths = [self.shared.queries[place].length for place, _ in rows]
        values: dict[int, float] = {}
        for group in batches(lengths, *self._limits()):
            chosen = [rows[index] for index in group]
            masked = torch.zeros((len(group), self.shared.cache.capacity), dtype=torch.bool)
            for number, (place, source) in enumerate(chosen):
                if hidden is not None:
                    masked[number, torch.from_numpy(hidden[place][source])] = True
            with hidden_positions(self.lm.decoder_layers[first : first + n], masked.to(self.lm.device)):
                probed = self.shared.probe(
                    [place for place, _ in chosen],
                    [[] for _ in chosen],
                    [self.branches[place] for place, _ in chosen],
                    layer=first,
                )
            for index, (place, _), one in zip(group, chosen, probed):
                values[index] = self.asked[place].outcome.read(one.log_probs)
        return [values[index] for index in range(len(rows))]

    def _limits(self) -> tuple[int, int]:
        longest = max(query.length for query in self.shared.queries)
        return max(1, min(MOST_ROWS, MOST_POSITIONS // longest)), MOST_POSITIONS

    def _skip(self, one: Asked, reason: str) -> KnockoutRecord:
        return KnockoutRecord(id=one.id, kind=one.kind, form=self.form, outcome=one.outcome.name, skipped=reason)
