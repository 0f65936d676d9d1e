"""Many edits of the same prompts without running what they share: one prefill, from which every edit starts.

An edit at layer l and position p leaves all states below l and all positions before p as they were (attention is
causal). So the unedited prompts are run once; keys, values and the inputs of the layers to be edited are kept. An
edited row then computes layers l and up at positions p and after; a batch holds any (prompt, edits) pairs. What is
forced behind a prompt can be part of the prefill, so that its layers below l are shared too. The reference answer's
loss is read off the same cache before the answer is decoded over it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from workflow_scripts.speech_lm.decoding.batching import padded_width
from workflow_scripts.speech_lm.decoding.branches import cached_branch_log_probs, read_log_probs
from workflow_scripts.speech_lm.decoding.cache_argument import with_cache
from workflow_scripts.speech_lm.decoding.greedy import NotFiniteError, check_reach, continue_greedily
from workflow_scripts.speech_lm.decoding.ragged_cache import RaggedCache
from workflow_scripts.speech_lm.decoding.vocabulary import precise_logits
from workflow_scripts.speech_lm.families.base import DecoderSpeechLM
from workflow_scripts.speech_lm.hooks import edited_inputs, hidden_argument
from workflow_scripts.speech_lm.protocol import Answer, AnswerLoss, Edit, Query, SpeechLMError

Rewrite = Callable[[int, int, Tensor], tuple[Tensor, Tensor] | None]
"""(row, layer, span states (T, d)) -> span positions (n,) and new values (n, d), or None to leave the layer alone."""


@dataclass(frozen=True, eq=False)
class EditedAnswer:
    """What one prompt gave under its edits.

    answer: greedy. loss: of the reference answer, None without one.
    first: (V,) float32 log-probabilities of the first answer token, on the CPU.
    """

    answer: Answer
    loss: AnswerLoss | None
    first: Tensor


@dataclass(frozen=True, eq=False)
class Probed:
    """What follows a prompt under its edits.

    first: (V,) float32 log-probabilities of the next token, on the model's device.
    log_probs: per continuation, (n,) float64 ln p of its tokens, on the CPU.
    """

    first: Tensor
    log_probs: list[Tensor]


class SharedPrompts:
    """The unedited prefill of some queries, and answers to them under edits.

    Args:
        references: answer whose loss is wanted, per query, or None.
        layers: the layers at which edits may start (the lowest edited layer of a row), known beforehand because only
            their inputs are kept.
        following: token ids of one continuation per query, which `probe` reads.

    Raises ValueError for an empty reference, SpeechLMError for layers the model does not have or architectures whose
    decoding state is not in the cache.
    """

    @torch.no_grad()
    def __init__(
        self,
        lm: DecoderSpeechLM,
        queries: Sequence[Query],
        references: Sequence[str | None],
        *,
        max_new_tokens: int,
        layers: Sequence[int] = (0,),
        following: Sequence[Sequence[int]] | None = None,
    ) -> None:
        if len(references) != len(queries):
            raise ValueError(f"{len(references)} references for {len(queries)} queries")
        if max_new_tokens < 1:
            raise ValueError(f"max_new_tokens is {max_new_tokens}; it must be at least 1")
        if outside := sorted(layer for layer in layers if not 0 <= layer < lm.n_layers):
            raise SpeechLMError(f"{lm.name} has editable layers 0 .. {lm.n_layers - 1}, asked for {outside}")
        self.lm, self.queries, self.max_new_tokens = lm, list(queries), max_new_tokens
        self.references = [None if text is None else lm.token_ids(text) for text in references]
        self.following = following
        # The last token of a continuation is only predicted.
        forced = [[]] * len(queries) if following is None else [ids[:-1] for ids in following]
        embeds, lengths = lm.pad_queries(queries, None, forced)
        self.lengths = torch.tensor(lengths, device=lm.device)
        self.ends = self.lengths + torch.tensor([len(ids) for ids in forced], device=lm.device)
        room = max([max_new_tokens, *(len(ids) for ids in self.references if ids is not None)])
        check_reach(lm.model, embeds.shape[1] + room)
        self.cache = RaggedCache(lm.n_layers, embeds.shape[1] + room)
        self.inputs: dict[int, Tensor] = {}
        with _kept_inputs(lm.decoder_layers, sorted(set(layers)), self.inputs) as kind:
            lm.decoder(inputs_embeds=embeds, **with_cache(lm.decoder, self.cache))
        if missing := sorted(set(layers) - set(self.inputs)):
            raise SpeechLMError(f"{lm.name}: layers {missing} were not reached; their inputs cannot be edited")
        if unused := [index for index, layer in enumerate(self.cache.layers) if not layer.is_initialized]:
            raise SpeechLMError(
                f"{lm.name}: layers {unused} keep their state outside the cache, so an edit cannot start from a "
                "shared prefill; write an adapter class for this architecture"
            )
        self._gives_tuples = kind["tuple"]

    def states(self, row: int, layer: int) -> Tensor:
        """(span length, d) input of `layer` at the query's span, on the CPU; `layer` is one of those kept."""
        start, end = self.queries[row].span
        return self.inputs[layer][row, start:end].cpu()

    @torch.no_grad()
    def answer(
        self,
        rows: Sequence[int],
        edits: Sequence[Sequence[Edit]],
        starts: Sequence[int] | None = None,
        layer: int | None = None,
    ) -> list[EditedAnswer]:
        """Answers of prompts `rows` (repeats allowed) under `edits`, one sequence per row.

        `starts`: positions from which rows are computed anew; default: the first edited one, and the last of the prompt
        for a row without edits. `layer`: from which they are computed anew; default: the lowest edited one, which must
        be the same in all rows. Two calls with equal rows, starts and layer run the same operations on the same shapes:
        that is how an edit that writes back what it finds is compared.

        Raises ValueError for edits outside a query or before its start, SpeechLMError for logits that are not finite.
        """
        began = time.perf_counter()
        layer, begin = self._layer(edits, layer), self._starts(rows, edits, starts)
        hidden, cache, lengths = self._prefill(rows, layer, begin, edits)
        last = _at(hidden, lengths - 1 - begin)
        first = precise_logits(self.lm.model, last).log_softmax(dim=-1)
        losses = self._losses(rows, cache, lengths, last)
        try:
            decoded = continue_greedily(
                self.lm.model,
                cache,
                last,
                lengths,
                max_new_tokens=self.max_new_tokens,
                stop_ids=self.lm.stop_ids,
            )
        except NotFiniteError as error:
            raise SpeechLMError(
                f"{self.lm.name}: the answer to query {rows[error.row]} of the batch has NaN or infinite logits under "
                f"{len(edits[error.row])} edits; check the checkpoint's training log, or run this model in float32"
            ) from error
        share = (time.perf_counter() - began) / len(rows)
        texts = [self.lm.decode_answer(one.token_ids) for one in decoded]
        answers = [Answer(text, one.token_ids, one.finish_reason, share, one.ties) for text, one in zip(texts, decoded)]
        return [EditedAnswer(*found) for found in zip(answers, losses, first.cpu())]

    @torch.no_grad()
    def probe(
        self,
        rows: Sequence[int],
        edits: Sequence[Sequence[Edit]],
        branches: Sequence[Sequence[Sequence[int]]] | None = None,
        starts: Sequence[int] | None = None,
        layer: int | None = None,
    ) -> list[Probed]:
        """The next token's distribution and continuations of each row, without decoding; else as `answer`.

        branches: per row, the token ids of its continuations; together they may take `max_new_tokens` positions
        (`branches.n_columns`). None: the one that follows the row's query (`following`), at less cost.
        """
        layer, begin = self._layer(edits, layer), self._starts(rows, edits, starts)
        forced = branches is None
        branches = [[self.following[row]] for row in rows] if branches is None else branches
        read_here = forced or all(len(ids) == 1 for row in branches for ids in row)
        copied_from = layer if read_here else 0
        hidden, cache, lengths = self._prefill(rows, layer, begin, edits, copied_from=copied_from, tight=True)
        at = lengths - 1 - begin
        last = _at(hidden, at)
        first = precise_logits(self.lm.model, last).log_softmax(dim=-1)
        if not bool(first.isfinite().any(dim=1).all()):
            raise SpeechLMError(
                f"{self.lm.name}: logits under edits are NaN or infinite; check the checkpoint's training log, or run "
                "this model in float32"
            )
        if forced:
            found = read_log_probs(self.lm.model, hidden, at.tolist(), branches)
        elif read_here:
            chosen = first.double().cpu()
            found = [[chosen[place, ids] for ids in row] for place, row in enumerate(branches)]
        else:
            found = cached_branch_log_probs(self.lm.model, cache, last, lengths, branches, together=True)
        return [Probed(*one) for one in zip(first, found)]

    @torch.no_grad()
    def resolve(self, rows: Sequence[int], rewrite: Rewrite) -> list[list[Edit]]:
        """Edits of every layer, each made from what arrives there after the edits below: one pass over the spans.

        `rewrite` sees the span's states at each layer as they are at that moment; what it gives is written in before
        the layer runs, and recorded. Layer 0 must be among the layers kept.
        """
        found: list[list[Edit]] = [[] for _ in rows]
        spans = [self.queries[row].span for row in rows]
        starts = torch.tensor([start for start, _ in spans], device=self.lm.device)

        def rewriting_hook(layer: int) -> Callable[..., tuple]:
            def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple:
                hidden, put = hidden_argument(args, kwargs)
                hidden = hidden.clone()
                for place, (start, end) in enumerate(spans):
                    changed = rewrite(place, layer, hidden[place, : end - start].to("cpu", copy=True))
                    if changed is not None and len(changed[0]):
                        frames, values = changed
                        found[place].append(Edit(layer, start + frames, values))
                        hidden[place, frames.to(hidden.device)] = values.to(hidden.device, hidden.dtype)
                return put(hidden)

            return hook

        handles = []
        try:
            for layer, module in enumerate(self.lm.decoder_layers):
                handles.append(module.register_forward_pre_hook(rewriting_hook(layer), with_kwargs=True))
            self._prefill(rows, 0, starts, [[] for _ in rows])
        finally:
            for handle in handles:
                handle.remove()
        return found

    def _layer(self, edits: Sequence[Sequence[Edit]], given: int | None) -> int:
        lowest = {min(edit.layer for edit in one) for one in edits if one}
        if given is not None and given <= min(lowest, default=given):
            lowest = {given}
        if len(lowest) > 1:
            raise ValueError(f"rows of one batch start at layers {sorted(lowest)}; give rows of one layer")
        layer = lowest.pop() if lowest else min(self.inputs)
        if layer not in self.inputs:
            raise ValueError(f"edits start at layer {layer}, but only the inputs of {sorted(self.inputs)} were kept")
        return layer

    def _starts(self, rows: Sequence[int], edits: Sequence[Sequence[Edit]], given: Sequence[int] | None) -> Tensor:
        if len(edits) != len(rows):
            raise ValueError(f"{len(edits)} sequences of edits for {len(rows)} rows: give one per row")
        starts = []
        for place, (row, one) in enumerate(zip(rows, edits)):
            length = self.queries[row].length
            positions = [int(position) for edit in one for position in edit.positions]
            start = min(positions, default=length - 1) if given is None else given[place]
            if positions and not (start <= min(positions) and max(positions) < length and start >= 0):
                raise ValueError(
                    f"edits address positions {min(positions)} .. {max(positions)} of a query of {length} positions "
                    f"that is computed from {start} on"
                )
            starts.append(start)
        return torch.tensor(starts, device=self.lm.device)

    def _prefill(
        self,
        rows: Sequence[int],
        layer: int,
        starts: Tensor,
        edits: Sequence[Sequence[Edit]],
        copied_from: int = 0,
        tight: bool = False,
    ) -> tuple[Tensor, RaggedCache, Tensor]:
        """Final states (B, W, d) from each row's start to its end, the rows' cache, and their prompt lengths.

        copied_from: the lowest layer whose keys and values are wanted afterwards. tight: columns are not padded.
        """
        # Prompts of the other form may have run since: a model whose LoRA is for speech only is in their state.
        self.lm.prepare([self.queries[row] for row in rows], None)
        chosen = torch.tensor(list(rows), device=self.lm.device)
        lengths = self.lengths[chosen]
        kept = self.inputs[layer]
        width = int((self.ends[chosen] - starts).max())
        width = width if tight else padded_width(width)
        cache = self.cache.copy(chosen, copied_from)
        # Columns past a row's end repeat its last possible slots: nothing real ever looks there.
        slots = (starts[:, None] + torch.arange(width, device=starts.device)).clamp(max=cache.capacity - 1)
        hidden = kept[chosen[:, None], slots.clamp(max=kept.shape[1] - 1)]
        shifted = [
            [Edit(edit.layer, edit.positions - int(start), edit.values) for edit in one]
            for one, start in zip(edits, starts)
        ]
        mask = cache.place(slots, hidden.dtype)
        decoder_layers = self.lm.decoder_layers
        with (
            _skipped(decoder_layers[:layer], self._gives_tuples),
            _injected(decoder_layers[layer], hidden),
            edited_inputs(decoder_layers, shifted),
        ):
            out = self.lm.decoder(
                inputs_embeds=hidden,
                attention_mask=mask,
                position_ids=slots,
                **with_cache(self.lm.decoder, cache),
            ).last_hidden_state
        return out, cache, lengths

    def _losses(
        self, rows: Sequence[int], cache: RaggedCache, lengths: Tensor, last: Tensor
    ) -> list[AnswerLoss | None]:
        """Loss of each row's reference; the slots after the prompts are written over by the answer later."""
        ids = [self.references[row] for row in rows]
        branches = [[] if one is None else [one] for one in ids]
        found = cached_branch_log_probs(self.lm.model, cache, last, lengths, branches)
        return [AnswerLoss(-float(one[0].sum()), len(one[0])) if one else None for one in found]


def _at(hidden: Tensor, columns: Tensor) -> Tensor:
    """(B, d) states of (B, W, d), one column (B,) of each row."""
    return hidden[torch.arange(len(hidden), device=hidden.device), columns]


@contextmanager
def _kept_inputs(layers: Sequence[nn.Module], wanted: Sequence[int], kept: dict[int, Tensor]) -> Iterator[dict]:
    """While open, the inputs of the wanted layers go into `kept`; yields a dict that tells what layers give back."""
    kind = {"tuple": False}

    def keep(index: int) -> Callable[..., None]:
        def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            kept[index] = hidden_argument(args, kwargs)[0].detach().clone()

        return hook

    def look(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        kind["tuple"] = isinstance(output, tuple)

    handles = [layers[index].register_forward_pre_hook(keep(index), with_kwargs=True) for index in wanted]
    handles.append(layers[-1].register_forward_hook(look))
    try:
        yield kind
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _injected(layer: nn.Module, hidden: Tensor) -> Iterator[None]:
    """While open, the layer is called with `hidden` instead of what comes from below."""

    def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple:
        return hidden_argument(args, kwargs)[1](hidden)

    # Before all other hooks: edits and captures then act on the injected states.
    handle = layer.register_forward_pre_hook(hook, with_kwargs=True, prepend=True)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _skipped(layers: Sequence[nn.Module], gives_tuples: bool) -> Iterator[None]:
    """While open, the layers pass their input on; their part of the cache is already there."""

    def pass_on(hidden_states: Tensor, *_args: Any, **_kwargs: Any) -> Any:
        return (hidden_states,) if gives_tuples else hidden_states

    saved = [layer.__dict__.get("forward") for layer in layers]
    try:
        for layer in layers:
            layer.forward = pass_on
        yield
    finally:
        for layer, forward in zip(layers, saved):
            if forward is None:
                layer.__dict__.pop("forward", None)
            else:
                layer.forward = forward
