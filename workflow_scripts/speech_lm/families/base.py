"""States, answers and answer losses of any decoder-only language model: written once, for all adapter families."""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from workflow_scripts.speech_lm.anatomy import causal_lm, decoder_of, final_norm_of, vocabulary_logits
from workflow_scripts.speech_lm.decoding.batching import longest_first, put_back
from workflow_scripts.speech_lm.decoding.branches import branch_log_probs, cached_branch_log_probs, n_columns
from workflow_scripts.speech_lm.decoding.greedy import (
    WIDTH_STEP,
    Decoded,
    NotFiniteError,
    check_length,
    check_reach,
    continue_greedily,
    greedy,
    prefill,
)
from workflow_scripts.speech_lm.decoding.option_tokens import OptionBranches, log_sum, option_branches
from workflow_scripts.speech_lm.decoding.packed_linears import packed_linears
from workflow_scripts.speech_lm.hooks import captured_states, edited_inputs
from workflow_scripts.speech_lm.probing.edited_prompts import SharedPrompts
from workflow_scripts.speech_lm.protocol import (
    Answer,
    AnswerLoss,
    Edit,
    OptionLogProbs,
    Query,
    SpeechLM,
    SpeechLMError,
    Wanted,
)

_LOGIT_ROWS = 256  # rows of the vocabulary product held at once in answer_loss


class DecoderSpeechLM(SpeechLM):
    """A `SpeechLM` around a transformers causal language model that accepts `inputs_embeds`.

    Subclasses render queries (`encode_text`, `encode_speech`). Batches are right-padded: attention is causal, so no
    real position sees the padding and no mask is needed. Sorting queries into batches is the caller's job
    (`batching.batches`).
    """

    def __init__(self, name: str, model: nn.Module, tokenizer: Any) -> None:
        self.name = name
        self.model = model
        self.tokenizer = tokenizer
        decoder = decoder_of(model)
        self.decoder = decoder
        self.decoder_layers = list(decoder.layers)
        self.final_norm = final_norm_of(model)
        self.lm_head = causal_lm(model).get_output_embeddings()
        self.n_layers = len(self.decoder_layers)
        embeddings = causal_lm(model).get_input_embeddings().weight
        self.hidden_size = embeddings.shape[1]
        self.device, self.dtype = embeddings.device, embeddings.dtype
        model.eval()

    @abstractmethod
    def encode_text(self, text: str) -> Query: ...

    @property
    def stop_ids(self) -> frozenset[int]:
        """Ids that end an answer: the generation config's and the tokenizer's end tokens."""
        config = getattr(causal_lm(self.model), "generation_config", None)
        configured = getattr(config, "eos_token_id", None)
        ids = configured if isinstance(configured, list | tuple) else [configured]
        return frozenset(int(i) for i in [*ids, self.tokenizer.eos_token_id] if i is not None)

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
        embeds, _ = self._pad(queries, edits)
        spans = [torch.arange(*query.span) for query in queries]
        rows = torch.cat([torch.full((len(span),), row) for row, span in enumerate(spans)])
        with (
            edited_inputs(self.decoder_layers, edits),
            captured_states(self.decoder_layers, rows, torch.cat(spans), layers) as states,
        ):
            self.decoder(inputs_embeds=embeds, use_cache=False)
        stacked = torch.stack([state for state in states if state is not None])
        return list(stacked.split([len(span) for span in spans], dim=1))

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
    def answer_and_weigh(
        self, queries: Sequence[Query], wanted: Sequence[Sequence[Wanted]], *, max_new_tokens: int
    ) -> list[tuple[Answer, list[OptionLogProbs]]]:
        """As in the protocol, from one pass over the prompts: options and references are read off its cache first."""
        start = time.perf_counter()
        check_length(max_new_tokens)
        embeds, lengths, order = self._longest_first(queries, None)
        candidates = [
            [option_branches(self.tokenizer, list(one.options), one.reference, self.name) for one in wanted[index]]
            for index in order
        ]
        branches = [[ids for one in own for ids in one.branches] for own in candidates]
        check_reach(self.model, embeds.shape[1] + max([max_new_tokens, *(len(ids) for own in branches for ids in own)]))
        room = max([max_new_tokens, *map(n_columns, branches)])
        asked = [queries[index] for index in order]
        with packed_linears(self.model, max_new_tokens, len(lengths)), self._named(asked):
            cache, last, slots = prefill(self.model, embeds, lengths, following=room)
            found = cached_branch_log_probs(self.model, cache, last, slots, branches)
            decoded = continue_greedily(
                self.model, cache, last, slots, max_new_tokens=max_new_tokens, stop_ids=self.stop_ids
            )
        weighed = []
        for own, log_probs in zip(candidates, found):
            pieces = iter(log_probs)
            weighed.append([self._weighed(one, [next(pieces) for _ in one.branches]) for one in own])
        return put_back(list(zip(self._answers(decoded, time.perf_counter() - start), weighed)), order)

    def decode_answer(self, token_ids: Sequence[int]) -> str:
        """The text of an answer: its tokens without special ones."""
        return self.tokenizer.decode(token_ids, skip_special_tokens=True)

    def _answers(self, decoded: Sequence[Decoded], seconds: float) -> list[Answer]:
        share = seconds / len(decoded)
        return [Answer(self.decode_answer(row.token_ids), row.token_ids, row.finish_reason, share) for row in decoded]

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
        ids = [self.tokenizer(answer, add_special_tokens=False)["input_ids"] for answer in answers]
        if not all(ids):
            raise ValueError(f"answer {answers[[bool(i) for i in ids].index(False)]!r} has no tokens")
        embeds, lengths = self._pad(queries, edits, following=ids)
        with edited_inputs(self.decoder_layers, edits):
            hidden = self.decoder(inputs_embeds=embeds, use_cache=False).last_hidden_state
        counts = [len(i) for i in ids]
        rows = torch.repeat_interleave(torch.arange(len(ids)), torch.tensor(counts))
        columns = torch.cat([torch.arange(start - 1, start - 1 + n) for start, n in zip(lengths, counts)])
        picked = hidden[rows.to(hidden.device), columns.to(hidden.device)]
        targets = torch.tensor([token for row in ids for token in row], device=hidden.device)
        nll = torch.cat(
            [
                nn.functional.cross_entropy(vocabulary_logits(self.model, h).float(), t, reduction="none")
                for h, t in zip(picked.split(_LOGIT_ROWS), targets.split(_LOGIT_ROWS))
            ]
        )
        sums = [float(part.double().sum()) for part in nll.cpu().split(counts)]
        return [AnswerLoss(total, n) for total, n in zip(sums, counts)]

    @torch.no_grad()
    def option_log_probs(
        self,
        queries: Sequence[Query],
        options: Sequence[Sequence[str]],
        *,
        references: Sequence[str | None] | None = None,
        edits: Sequence[Sequence[Edit]] | None = None,
    ) -> list[OptionLogProbs]:
        """ln p of every option's letter and text as the beginning of the answer, teacher-forced in one forward pass.

        All letters, texts and the reference answer of a question are branches that share its prompt (`branches`).
        Raises ValueError for a question without options or a text without tokens, SpeechLMError if two letters have the
        same tokens or a probability is not finite.
        """
        references = [None] * len(queries) if references is None else references
        if len(options) != len(queries) or len(references) != len(queries):
            raise ValueError(
                f"{len(options)} lists of options and {len(references)} references for {len(queries)} queries: give "
                "one per query"
            )
        if not all(options):
            raise ValueError(
                "a query without options has no option probabilities; `answer_loss` costs a reference alone"
            )
        candidates = [
            option_branches(self.tokenizer, list(texts), reference, self.name)
            for texts, reference in zip(options, references)
        ]
        found = self._branch_log_probs(queries, [one.branches for one in candidates], edits)
        return [self._weighed(one, log_probs) for one, log_probs in zip(candidates, found)]

    def _weighed(self, one: OptionBranches, log_probs: Sequence[Tensor]) -> OptionLogProbs:
        """Letters, texts and reference of one question from the tokens' ln p of its branches."""
        sums = [float(part.sum()) for part in log_probs]
        if not all(map(math.isfinite, sums)):
            raise SpeechLMError(
                f"{self.name}: an option or reference answer has NaN or infinite log-probability; check the "
                "checkpoint's training log, or run this model in float32"
            )
        letters = tuple(log_sum([sums[number] for number in numbers]) for numbers in one.letters)
        texts = tuple(sums[number] for number in one.texts)
        counts = tuple(len(one.branches[number]) for number in one.texts)
        cost = None
        if one.reference is not None:
            cost = AnswerLoss(-sums[one.reference], len(one.branches[one.reference]))
        return OptionLogProbs(letters, texts, counts, cost)

    def _branch_log_probs(
        self,
        queries: Sequence[Query],
        branches: Sequence[Sequence[Sequence[int]]],
        edits: Sequence[Sequence[Edit]] | None,
    ) -> list[list[Tensor]]:
        """ln p of every token of every continuation of each query: (n,) float64 tensors on the CPU."""
        self._prepare(queries, edits)
        with edited_inputs(self.decoder_layers, edits):
            return branch_log_probs(self.model, [self.embed(query) for query in queries], branches)

    def share_prompts(
        self,
        queries: Sequence[Query],
        references: Sequence[str | None],
        *,
        max_new_tokens: int,
        layers: Sequence[int] = (0,),
    ) -> SharedPrompts:
        """One unedited prefill of the queries, from which answers under many edits start (see `SharedPrompts`)."""
        return SharedPrompts(self, queries, references, max_new_tokens=max_new_tokens, layers=layers)

    def embed(self, query: Query) -> Tensor:
        """(T, d) input embeddings of a query on the model's device."""
        if "inputs_embeds" in query.inputs:
            return query.inputs["inputs_embeds"][0].to(self.device, self.dtype)
        ids = query.inputs["input_ids"][0].to(self.device)
        return causal_lm(self.model).get_input_embeddings()(ids)

    def _pad(
        self,
        queries: Sequence[Query],
        edits: Sequence[Sequence[Edit]] | None,
        following: Sequence[Sequence[int]] | None = None,
    ) -> tuple[Tensor, list[int]]:
        """Right-padded embeddings (B, T, d), T a multiple of 16, and the queries' lengths.

        `following` ids are appended to each query (not counted in its length). Few different T keep the number of
        kernels that have to be prepared small; the padding costs less than that.
        """
        self._prepare(queries, edits)
        rows = [self.embed(query) for query in queries]
        lengths = [len(row) for row in rows]
        if following is not None:
            table = causal_lm(self.model).get_input_embeddings()
            rows = [torch.cat([r, table(torch.tensor(list(i), device=self.device))]) for r, i in zip(rows, following)]
        width = -(-max(len(row) for row in rows) // WIDTH_STEP) * WIDTH_STEP
        check_reach(self.model, max(len(row) for row in rows))
        embeds = torch.zeros((len(rows), width, self.hidden_size), device=self.device, dtype=self.dtype)
        for index, row in enumerate(rows):
            embeds[index, : len(row)] = row
        return embeds, lengths

    def _longest_first(
        self, queries: Sequence[Query], edits: Sequence[Sequence[Edit]] | None
    ) -> tuple[Tensor, list[int], list[int]]:
        """As `_pad`, the longest query first; and the order that made it so."""
        embeds, lengths = self._pad(queries, edits)
        order = longest_first(lengths)
        if order != sorted(order):
            embeds = embeds[torch.tensor(order, device=embeds.device)]
        return embeds, [lengths[index] for index in order], order

    def _prepare(self, queries: Sequence[Query], edits: Sequence[Sequence[Edit]] | None) -> None:
        """Called before every pass: checks its arguments; a family may bring the model into the state they need."""
        if not queries:
            raise ValueError("there must be at least one query in a batch")
        if edits is not None and len(edits) != len(queries):
            raise ValueError(f"{len(edits)} sequences of edits for {len(queries)} queries: give one per query")
        for query, query_edits in zip(queries, edits or ()):
            for edit in query_edits:
                if len(edit.positions) and int(edit.positions.max()) >= query.length:
                    raise ValueError(
                        f"Edit(layer={edit.layer}) addresses position {int(edit.positions.max())} of a query of "
                        f"{query.length} positions"
                    )
