"""States, answers and answer losses of language models whose decoder runs on input embeddings, in batches."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from workflow_scripts.speech_lm.anatomy import causal_lm, vocabulary_logits
from workflow_scripts.speech_lm.decoding.batching import longest_first, padded_width, put_back
from workflow_scripts.speech_lm.decoding.branches import branch_log_probs, cached_branch_log_probs, n_columns
from workflow_scripts.speech_lm.decoding.greedy import (
    Decoded,
    NotFiniteError,
    check_length,
    check_reach,
    continue_greedily,
    greedy,
    prefill,
)
from workflow_scripts.speech_lm.decoding.option_tokens import option_branches
from workflow_scripts.speech_lm.decoding.packed_linears import packed_linears
from workflow_scripts.speech_lm.decoding.vocabulary import precise_logits
from workflow_scripts.speech_lm.families.transformers_lm import TransformersSpeechLM
from workflow_scripts.speech_lm.hooks import captured_states, edited_inputs
from workflow_scripts.speech_lm.protocol import (
    Answer,
    AnswerLoss,
    Edit,
    OptionLogProbs,
    Query,
    ScoringRequest,
    SpeechLMError,
)

_LOGIT_ROWS = 256  # rows of the vocabulary product held at once in answer_loss


class DecoderSpeechLM(TransformersSpeechLM):
    """A `SpeechLM` whose decoder accepts `inputs_embeds`.

    Subclasses render queries: `encode_speech`, and `template` or `encode_text`. Batches are right-padded: attention is
    causal, so no real position sees the padding and no mask is needed. Sorting queries into batches is the caller's job
    (`batching.batches`).
    """

    shares_prompts = True

    @torch.no_grad()
    def states(
        self,
        queries: Sequence[Query],
        *,
        edits: Sequence[Sequence[Edit]] | None = None,
        layers: Sequence[int] | None = None,
    ) -> list[Tensor]:
        """Hidden states of the spans, one forward pass: a list of (L+1, span length, d) CPU tensors in model dtype.

        With `edits` (one sequence per query) the pass is the edited one and `states[l]` shows the edited input. With
        `layers` only these of 0 .. L are given, in ascending order, and the pass ends before the highest one runs.
        """
        embeds, _ = self.pad_queries(queries, edits)
        spans = [torch.arange(*query.span) for query in queries]
        rows = torch.cat([torch.full((len(span),), row) for row, span in enumerate(spans)])
        with (
            edited_inputs(self.decoder_layers, edits),
            captured_states(self.decoder_layers, rows, torch.cat(spans), layers) as states,
        ):
            self.decoder(inputs_embeds=embeds, use_cache=False)
        stacked = torch.stack([state for state in states if state is not None])
        return list(stacked.split([len(span) for span in spans], dim=1))

    @torch.no_grad()
    def logits(self, query: Query, edits: Sequence[Edit] = ()) -> Tensor:
        """(1, width, V) logits at every position, padding included, under edits."""
        embeds, _ = self.pad_queries([query], [edits])
        with edited_inputs(self.decoder_layers, [edits]):
            return vocabulary_logits(self.model, self.decoder(inputs_embeds=embeds, use_cache=False).last_hidden_state)

    def generate(
        self,
        queries: Sequence[Query],
        *,
        max_new_tokens: int,
        edits: Sequence[Sequence[Edit]] | None = None,
        stop_ids: Sequence[int] | None = None,
    ) -> list[Answer]:
        """Greedy answers. `edits[i]` acts on query i during prefill; `stop_ids` None means the model's own.

        Raises SpeechLMError naming model and query if the logits are not finite.
        """
        start = time.perf_counter()
        embeds, lengths, order = self._longest_first(queries, edits)
        stops = self.stop_ids if stop_ids is None else frozenset(stop_ids)
        edits = None if edits is None else [edits[index] for index in order]
        with self._named([queries[index] for index in order]):
            decoded = greedy(self.model, embeds, lengths, max_new_tokens=max_new_tokens, stop_ids=stops, edits=edits)
        return put_back(self._answers(decoded, time.perf_counter() - start), order)

    @torch.no_grad()
    def generate_and_score(
        self, queries: Sequence[Query], requests: Sequence[Sequence[ScoringRequest]], *, max_new_tokens: int
    ) -> list[tuple[Answer, list[OptionLogProbs]]]:
        """As in the protocol, from one pass over the prompts: options and references are read off its cache first."""
        start = time.perf_counter()
        check_length(max_new_tokens)
        embeds, lengths, order = self._longest_first(queries, None)
        candidates = [
            [option_branches(self.tokenizer, list(r.options), r.reference, self.name) for r in requests[index]]
            for index in order
        ]
        branches = [[ids for candidate in row for ids in candidate.branches] for row in candidates]
        check_reach(self.model, embeds.shape[1] + max([max_new_tokens, *(len(ids) for row in branches for ids in row)]))
        room = max([max_new_tokens, *map(n_columns, branches)])
        asked = [queries[index] for index in order]
        with packed_linears(self.model, max_new_tokens, len(lengths)), self._named(asked):
            cache, last, slots = prefill(self.model, embeds, lengths, following=room)
            log_probs = cached_branch_log_probs(self.model, cache, last, slots, branches)
            decoded = continue_greedily(
                self.model, cache, last, slots, max_new_tokens=max_new_tokens, stop_ids=self.stop_ids
            )
        scores = []
        for row, values in zip(candidates, log_probs):
            pieces = iter(values)
            scores.append([self._option_scores(c, [next(pieces) for _ in c.branches]) for c in row])
        return put_back(list(zip(self._answers(decoded, time.perf_counter() - start), scores)), order)

    def _answers(self, decoded: Sequence[Decoded], seconds: float) -> list[Answer]:
        share = seconds / len(decoded)
        return [
            Answer(self.decode_answer(row.token_ids), row.token_ids, row.finish_reason, share, row.ties)
            for row in decoded
        ]

    @contextmanager
    def _named(self, queries: Sequence[Query]) -> Iterator[None]:
        """Logits that are not finite become an error that names model and query."""
        try:
            yield
        except NotFiniteError as error:
            query = queries[error.row]
            asked = f"{query.seconds:.2f} s of speech" if query.form == "speech" else repr("".join(query.tokens)[:80])
            raise SpeechLMError(
                f"{self.name}: the answer to {asked} has NaN or infinite logits; check the checkpoint's training log, "
                "or run this model in float32"
            ) from error

    @torch.no_grad()
    def answer_loss(
        self,
        queries: Sequence[Query],
        answers: Sequence[str],
        *,
        edits: Sequence[Sequence[Edit]] | None = None,
    ) -> list[AnswerLoss]:
        """Sum of -ln p(token | query, tokens before) over each answer's tokens, in nats, one forward pass.

        Answer tokens only: the end-of-turn token is not counted. Raises ValueError for an empty answer.
        """
        if len(answers) != len(queries):
            raise ValueError(f"{len(answers)} answers for {len(queries)} queries")
        ids = [self.token_ids(answer) for answer in answers]
        embeds, lengths = self.pad_queries(queries, edits, following=ids)
        with edited_inputs(self.decoder_layers, edits):
            hidden = self.decoder(inputs_embeds=embeds, use_cache=False).last_hidden_state
        counts = [len(i) for i in ids]
        rows = torch.repeat_interleave(torch.arange(len(ids)), torch.tensor(counts))
        columns = torch.cat([torch.arange(start - 1, start - 1 + n) for start, n in zip(lengths, counts)])
        picked = hidden[rows.to(hidden.device), columns.to(hidden.device)]
        targets = torch.tensor([token for row in ids for token in row], device=hidden.device)
        nll = torch.cat(
            [
                nn.functional.cross_entropy(precise_logits(self.model, h), t, reduction="none")
                for h, t in zip(picked.split(_LOGIT_ROWS), targets.split(_LOGIT_ROWS))
            ]
        )
        sums = [float(part.double().sum()) for part in nll.cpu().split(counts)]
        return [AnswerLoss(total, n) for total, n in zip(sums, counts)]

    def _branch_log_probs(
        self,
        queries: Sequence[Query],
        branches: Sequence[Sequence[Sequence[int]]],
        edits: Sequence[Sequence[Edit]] | None,
    ) -> list[list[Tensor]]:
        """ln p of every token of every continuation of each query: (n,) float64 tensors on the CPU."""
        self.prepare(queries, edits)
        with edited_inputs(self.decoder_layers, edits):
            return branch_log_probs(self.model, [self.embed(query) for query in queries], branches)

    def pad_queries(
        self,
        queries: Sequence[Query],
        edits: Sequence[Sequence[Edit]] | None,
        following: Sequence[Sequence[int]] | None = None,
    ) -> tuple[Tensor, list[int]]:
        """Right-padded embeddings (B, T, d), T a multiple of 16, and the queries' lengths.

        `following` ids are appended to each query (not counted in its length). Few different T keep the number of
        kernels that have to be prepared small; the padding costs less than that.
        """
        self.prepare(queries, edits)
        rows = [self.embed(query) for query in queries]
        lengths = [len(row) for row in rows]
        if following is not None:
            table = causal_lm(self.model).get_input_embeddings()
            rows = [
                torch.cat([row, table(torch.tensor(list(ids), dtype=torch.long, device=self.device))])
                for row, ids in zip(rows, following)
            ]
        width = padded_width(max(len(row) for row in rows))
        check_reach(self.model, max(len(row) for row in rows))
        embeds = torch.zeros((len(rows), width, self.hidden_size), device=self.device, dtype=self.dtype)
        for index, row in enumerate(rows):
            embeds[index, : len(row)] = row
        return embeds, lengths

    def _longest_first(
        self, queries: Sequence[Query], edits: Sequence[Sequence[Edit]] | None
    ) -> tuple[Tensor, list[int], list[int]]:
        """As `_pad`, the longest query first; and the order that made it so."""
        embeds, lengths = self.pad_queries(queries, edits)
        order = longest_first(lengths)
        if order != sorted(order):
            embeds = embeds[torch.tensor(order, device=embeds.device)]
        return embeds, [lengths[index] for index in order], order
