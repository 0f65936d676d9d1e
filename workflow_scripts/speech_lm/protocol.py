"""The contract between speech language models and everything that measures them.

Symbols follow arXiv 2510.12116: a model has L decoder layers of width d; a spoken query occupies T_s positions of the
language model's sequence, a written one T_t.

State index rule, used everywhere: `states[l]` is the *input* of decoder layer l for l < L (`states[0]` = embeddings)
and `states[L]` is the raw output of the last layer, before the final norm. `Edit(layer=l)` replaces exactly
`states[l]`, so what is measured at l is edited at l.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

SAMPLE_RATE = 16_000
"""Samples per second of every waveform handed to a model."""


class SpeechLMError(RuntimeError):
    """A model does not do what the measurements rely on, or cannot be used in the way asked for."""


@dataclass(frozen=True, eq=False)
class Speech:
    """What a speech query is made of.

    waveform: (samples,) float32, mono, 16 kHz; may be None where `features` are given.
    rate: samples per second of the waveform.
    seconds: length of the real audio.
    features: (frames, d_enc) cached encoder output, real frames only, or None to have the model encode the waveform.
    padding: (frames, d_enc) cached encoder output of the silence behind the audio, or None; for `encode_padded` only.
    """

    waveform: np.ndarray | None
    rate: int
    seconds: float
    features: np.ndarray | Tensor | None = None
    padding: np.ndarray | Tensor | None = None


@dataclass(frozen=True, eq=False)
class Query:
    """One query, ready for the language model: a batch of one, unpadded.

    inputs: `{"input_ids": (1, T)}` or `{"inputs_embeds": (1, T, d)}`.
    length: T, positions in the language model's sequence, template included.
    span: (start, end) of the query itself, end exclusive.
    tokens: one label per span position (decoded token, or start time of the speech position).
    token_ids: ids of the span (text) or None (speech).
    char_spans: per span position, character range in the query text (text) or None (speech).
    seconds: audio length (speech) or None (text).
    form: "text" or "speech".
    starts: seconds at which each speech position begins, ascending; None where not known, and for text.
    """

    inputs: dict[str, Tensor]
    length: int
    span: tuple[int, int]
    tokens: tuple[str, ...]
    token_ids: tuple[int, ...] | None
    char_spans: tuple[tuple[int, int], ...] | None
    seconds: float | None
    form: str
    starts: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        start, end = self.span
        if not 0 <= start < end <= self.length:
            raise ValueError(f"span {self.span} does not lie inside a query of {self.length} positions")
        if len(self.tokens) != end - start:
            raise ValueError(f"{len(self.tokens)} labels for a span of {end - start} positions")
        if self.starts is not None and len(self.starts) != end - start:
            raise ValueError(f"{len(self.starts)} times for a span of {end - start} positions")

    def whole(self) -> Query:
        """The query with its whole prompt as span."""
        blank = ("",) * self.length
        return replace(self, span=(0, self.length), tokens=blank, token_ids=None, char_spans=None, starts=None)


@dataclass(frozen=True, eq=False)
class Edit:
    """Replacement of the input of decoder layer `layer` at some positions of one query, during prefill.

    layer: 0 .. L-1; 0 edits the embeddings.
    positions: (n,) int64, absolute positions in the language model's sequence.
    values: (n, d), cast to the model's dtype when applied.
    """

    layer: int
    positions: Tensor
    values: Tensor

    def __post_init__(self) -> None:
        if self.positions.ndim != 1 or self.values.ndim != 2 or len(self.positions) != len(self.values):
            raise ValueError(
                f"Edit(layer={self.layer}): positions {tuple(self.positions.shape)} and values "
                f"{tuple(self.values.shape)} must be (n,) and (n, d)"
            )


@dataclass(frozen=True)
class Answer:
    """A generated answer.

    text: decoded, special tokens dropped. token_ids: generated ids without the stop token.
    finish_reason: "stop" (the model ended its turn) or "length" (max_new_tokens reached).
    seconds: wall time of the batch divided by its rows.
    ties: steps at which several ids were equally likely in float32; the lowest was taken. None: not counted.
    """

    text: str
    token_ids: tuple[int, ...]
    finish_reason: str
    seconds: float
    ties: int | None = None


@dataclass(frozen=True)
class AnswerLoss:
    """Teacher-forced cost of a given answer: `nll` = sum of -ln p over its `n_tokens` tokens, in nats."""

    nll: float
    n_tokens: int


@dataclass(frozen=True)
class OptionLogProbs:
    """How likely a model begins its answer with each option of a question; natural logarithms, not normalised.

    letters: (k,) ln p of the option's letter, summed over its tokenisations with and without a leading space.
    texts: (k,) ln p of the option's whole text. text_tokens: (k,) its tokens.
    reference: cost of the reference answer, if one was given.
    k is 0 where only a reference answer was asked for.
    """

    letters: tuple[float, ...]
    texts: tuple[float, ...]
    text_tokens: tuple[int, ...]
    reference: AnswerLoss | None = None


@dataclass(frozen=True)
class ScoringRequest:
    """What is scored of a query beside its answer.

    reference: the answer whose cost is measured, or None. options: texts of the options whose probabilities are
    measured; empty for none.
    """

    reference: str | None = None
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelFolders:
    """Where the parts of a model lie.

    weights: a checkpoint's folder, or that of the model's weights. backbone, quantizer: of models that have one.
    encoder: where raw waveforms are to be encoded by it; None where cached features are read.
    """

    weights: Path
    backbone: Path | None = None
    encoder: Path | None = None
    quantizer: Path | None = None


class SpeechLM(ABC):
    """A language model that answers written and spoken queries and lets its hidden states be read and replaced."""

    name: str
    n_layers: int
    hidden_size: int
    tokenizer: Any
    device: torch.device
    dtype: torch.dtype
    decoder_layers: list[nn.Module]
    final_norm: nn.Module
    lm_head: nn.Module
    shares_prompts: bool = False
    """Whether many edits can start from one pass over a prompt (`probing.edited_prompts`)."""

    @abstractmethod
    def encode_text(self, text: str) -> Query:
        """Render a written query in the chat template."""

    @abstractmethod
    def encode_speech(self, speech: Speech) -> Query:
        """Render a spoken query in the same template, the audio in the place of the text."""

    def encode_padded(self, speech: Speech) -> Query | None:
        """The spoken query with the padding of the encoder's window behind the audio, as part of its span.

        None where the model never sees padding, or the frames behind the audio are not known.
        """
        return None

    def logits(self, query: Query, edits: Sequence[Edit] = ()) -> Tensor | None:
        """Logits at every position of a query under edits, for checks; None where a class gives none."""
        return None

    @abstractmethod
    def states(
        self,
        queries: Sequence[Query],
        *,
        edits: Sequence[Sequence[Edit]] | None = None,
        layers: Sequence[int] | None = None,
    ) -> list[Tensor]:
        """Hidden states of every query's span: one (L+1, span length, d) tensor per query, on the CPU.

        `layers`: only these of 0 .. L, in ascending order; the pass need not go further than the highest.
        """

    @abstractmethod
    def generate(
        self,
        queries: Sequence[Query],
        *,
        max_new_tokens: int,
        edits: Sequence[Sequence[Edit]] | None = None,
        stop_ids: Sequence[int] | None = None,
    ) -> list[Answer]:
        """Greedy answers; `edits[i]` is applied to query i during prefill."""

    @abstractmethod
    def answer_loss(
        self,
        queries: Sequence[Query],
        answers: Sequence[str],
        *,
        edits: Sequence[Sequence[Edit]] | None = None,
    ) -> list[AnswerLoss]:
        """Teacher-forced cost of a given answer to each query."""

    @abstractmethod
    def option_log_probs(
        self,
        queries: Sequence[Query],
        options: Sequence[Sequence[str]],
        *,
        references: Sequence[str | None] | None = None,
        edits: Sequence[Sequence[Edit]] | None = None,
    ) -> list[OptionLogProbs]:
        """Probability that the answer to query i begins with the letter, or the text, of each of its `options[i]`.

        With `references` the same pass gives what `answer_loss` gives for them.
        """

    def generate_and_score(
        self, queries: Sequence[Query], requests: Sequence[Sequence[ScoringRequest]], *, max_new_tokens: int
    ) -> list[tuple[Answer, list[OptionLogProbs]]]:
        """What `generate` gives, and for each of `requests[i]` what `option_log_probs` and `answer_loss` give.

        This version calls them one after the other; a family that can, shares the pass over the prompt.
        """
        answers = self.generate(queries, max_new_tokens=max_new_tokens)
        return [
            (answer, [self._score(query, request) for request in row])
            for answer, query, row in zip(answers, queries, requests, strict=True)
        ]

    def _score(self, query: Query, request: ScoringRequest) -> OptionLogProbs:
        if request.options:
            return self.option_log_probs([query], [request.options], references=[request.reference])[0]
        if request.reference is None:
            return OptionLogProbs((), (), ())
        return OptionLogProbs((), (), (), self.answer_loss([query], [request.reference])[0])
