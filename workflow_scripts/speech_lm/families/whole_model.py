"""Placeholder models that only run as a whole, one query at a time: Gemma 4 and others of its kind.

Their layers take more than the hidden states (embeddings per layer, shared keys and values, windows), so neither the
shared decoder loop nor batches apply. States and edits are the same hooks; answers come from the model's own
`generate`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from workflow_scripts.speech_lm.families.placeholder import PlaceholderSpeechLM
from workflow_scripts.speech_lm.hooks import captured_states, edited_inputs
from workflow_scripts.speech_lm.protocol import Answer, AnswerLoss, Edit, Query, SpeechLMError


class _AfterPrefill(LogitsProcessor):
    """Called after every pass: closes the edits after the first one, and stops at logits that are not finite."""

    def __init__(self, edits: ExitStack, what: str) -> None:
        self.edits, self.what = edits, what

    def __call__(self, _input_ids: Tensor, scores: Tensor) -> Tensor:
        self.edits.close()
        if not bool(scores.isfinite().any()) or bool(scores.isnan().any()):
            raise SpeechLMError(
                f"{self.what} has NaN or infinite logits; check the checkpoint, or run this model in float32"
            )
        return scores


class WholeModelSpeechLM(PlaceholderSpeechLM):
    """A placeholder model whose decoder cannot be run from input embeddings; arguments as in `PlaceholderSpeechLM`."""

    @torch.no_grad()
    def states(
        self,
        queries: Sequence[Query],
        *,
        edits: Sequence[Sequence[Edit]] | None = None,
        layers: Sequence[int] | None = None,
    ) -> list[Tensor]:
        """As in the base class, one pass of the whole model per query."""
        self.prepare(queries, edits)
        found = []
        for number, query in enumerate(queries):
            places = torch.arange(*query.span)
            with (
                edited_inputs(self.decoder_layers, None if edits is None else [edits[number]]),
                captured_states(self.decoder_layers, torch.zeros_like(places), places, layers) as states,
            ):
                self._forward(query)
            found.append(torch.stack([state for state in states if state is not None]))
        return found

    @torch.no_grad()
    def logits(self, query: Query, edits: Sequence[Edit] = ()) -> Tensor:
        """(1, T, V) logits at every position under edits."""
        with edited_inputs(self.decoder_layers, [edits]):
            return self._forward(query).logits

    @torch.no_grad()
    def generate(
        self,
        queries: Sequence[Query],
        *,
        max_new_tokens: int,
        edits: Sequence[Sequence[Edit]] | None = None,
        stop_ids: Sequence[int] | None = None,
    ) -> list[Answer]:
        """Greedy answers by the model's own `generate`, query by query; edits act on the prefill only."""
        self.prepare(queries, edits)
        stops = self.stop_ids if stop_ids is None else frozenset(stop_ids)
        answers = []
        for number, query in enumerate(queries):
            start = time.perf_counter()
            self.use_lora(query.form)
            with ExitStack() as stack:
                stack.enter_context(edited_inputs(self.decoder_layers, None if edits is None else [edits[number]]))
                ids = self.model.generate(
                    **self.model_inputs(query),
                    generation_config=GenerationConfig(
                        do_sample=False,
                        num_beams=1,
                        max_new_tokens=max_new_tokens,
                        eos_token_id=sorted(stops) or None,
                        pad_token_id=self.tokenizer.pad_token_id or 0,
                    ),
                    logits_processor=LogitsProcessorList([_AfterPrefill(stack, f"{self.name}: a {query.form} answer")]),
                )
            new = [int(i) for i in ids[0, query.length :]]
            stopped = bool(new) and new[-1] in stops
            new = new[:-1] if stopped else new
            text = self.decode_answer(new)
            answers.append(Answer(text, tuple(new), "stop" if stopped else "length", time.perf_counter() - start))
        return answers

    @torch.no_grad()
    def answer_loss(
        self,
        queries: Sequence[Query],
        answers: Sequence[str],
        *,
        edits: Sequence[Sequence[Edit]] | None = None,
    ) -> list[AnswerLoss]:
        """As in the base class, one pass of the whole model per query."""
        if len(answers) != len(queries):
            raise ValueError(f"{len(answers)} answers for {len(queries)} queries")
        self.prepare(queries, edits)
        losses = []
        for number, (query, answer) in enumerate(zip(queries, answers)):
            ids = self.token_ids(answer)
            with edited_inputs(self.decoder_layers, None if edits is None else [edits[number]]):
                logits = self._forward(query, ids).logits[0, query.length - 1 : query.length - 1 + len(ids)]
            targets = torch.tensor(ids, device=logits.device)
            nll = torch.nn.functional.cross_entropy(logits.float(), targets, reduction="none")
            losses.append(AnswerLoss(float(nll.double().sum()), len(ids)))
        return losses

    def _branch_log_probs(
        self,
        queries: Sequence[Query],
        branches: Sequence[Sequence[Sequence[int]]],
        edits: Sequence[Sequence[Edit]] | None,
    ) -> list[list[Tensor]]:
        """As in the base class, one pass of the whole model per continuation."""
        self.prepare(queries, edits)
        found = []
        for number, (query, own) in enumerate(zip(queries, branches)):
            with edited_inputs(self.decoder_layers, None if edits is None else [edits[number]]):
                found.append([self._continuation(query, ids) for ids in own])
        return found

    def _continuation(self, query: Query, ids: Sequence[int]) -> Tensor:
        logits = self._forward(query, ids).logits[0, query.length - 1 : query.length - 1 + len(ids)]
        chosen = torch.tensor(list(ids), device=logits.device)
        return logits.float().log_softmax(dim=-1).gather(1, chosen[:, None])[:, 0].double().cpu()

    def _forward(self, query: Query, following: Sequence[int] = ()) -> Any:
        """The whole model on a query, with the ids of an answer behind it."""
        self.use_lora(query.form)
        inputs = self.model_inputs(query)
        if following:
            behind = torch.tensor([list(following)], device=inputs["input_ids"].device)
            filling = {"input_ids": behind, "attention_mask": torch.ones_like(behind)}
            for name in ("input_ids", "attention_mask", "mm_token_type_ids", "token_type_ids"):
                if name in inputs:
                    inputs[name] = torch.cat([inputs[name], filling.get(name, torch.zeros_like(behind))], dim=1)
        return self.model(**inputs, use_cache=False)

    def prepare(self, queries: Sequence[Query], edits: Sequence[Sequence[Edit]] | None) -> None:
        """As in the base class; fills the placeholders of spoken queries, as the merge is counted once per query."""
        super().prepare(queries, edits)
        for query in queries:
            if query.form == "speech":
                self.use_lora("speech")
                self.embed(query)
