"""What all families around a transformers model share: hook points, end tokens, written queries, option scores."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from workflow_scripts.speech_lm.anatomy import causal_lm, decoder_of, final_norm_of
from workflow_scripts.speech_lm.decoding.option_tokens import OptionBranches, log_sum, option_branches
from workflow_scripts.speech_lm.families.chat import WrittenQuery
from workflow_scripts.speech_lm.protocol import AnswerLoss, Edit, OptionLogProbs, Query, SpeechLM, SpeechLMError


class TransformersSpeechLM(SpeechLM):
    """A `SpeechLM` around a transformers model.

    Attributes:
        template: renders written queries (`ChatTemplate` or another class with `write`); set by the family.
        decoder: the stack of decoder layers.
    """

    template: Any

    def __init__(self, name: str, model: nn.Module, tokenizer: Any) -> None:
        self.name, self.model, self.tokenizer = name, model, tokenizer
        self.decoder = decoder_of(model)
        self.decoder_layers = list(self.decoder.layers)
        self.final_norm = final_norm_of(model)
        self.lm_head = causal_lm(model).get_output_embeddings()
        self.n_layers = len(self.decoder_layers)
        embeddings = causal_lm(model).get_input_embeddings().weight
        self.hidden_size = embeddings.shape[1]
        self.device, self.dtype = embeddings.device, embeddings.dtype
        model.eval()

    @property
    def stop_ids(self) -> frozenset[int]:
        """Ids that end an answer: the generation config's and the tokenizer's end tokens."""
        config = getattr(causal_lm(self.model), "generation_config", None)
        return frozenset([*end_ids(config), *end_ids(self.tokenizer)])

    def encode_text(self, text: str) -> Query:
        """The template with the text in the user's turn; the span is the text's tokens."""
        written: WrittenQuery = self.template.write(text)
        ids = written.input_ids[slice(*written.span)]
        return Query(
            inputs={"input_ids": torch.tensor([written.input_ids])},
            length=len(written.input_ids),
            span=written.span,
            tokens=tuple(self.tokenizer.decode([i]) for i in ids),
            token_ids=ids,
            char_spans=written.char_spans,
            seconds=None,
            form="text",
        )

    def embed(self, query: Query) -> Tensor:
        """(T, d) input embeddings of a query on the model's device."""
        if "inputs_embeds" in query.inputs:
            return query.inputs["inputs_embeds"][0].to(self.device, self.dtype)
        ids = query.inputs["input_ids"][0].to(self.device)
        return causal_lm(self.model).get_input_embeddings()(ids)

    def decode_answer(self, token_ids: Sequence[int]) -> str:
        """The text of an answer: its tokens without special ones."""
        return self.tokenizer.decode(token_ids, skip_special_tokens=True)

    def token_ids(self, answer: str) -> list[int]:
        """Ids of an answer as it follows a prompt. Raises ValueError if it has none."""
        ids = list(self.tokenizer(answer, add_special_tokens=False)["input_ids"])
        if not ids:
            raise ValueError(f"answer {answer!r} has no tokens")
        return ids

    @torch.no_grad()
    def option_log_probs(
        self,
        queries: Sequence[Query],
        options: Sequence[Sequence[str]],
        *,
        references: Sequence[str | None] | None = None,
        edits: Sequence[Sequence[Edit]] | None = None,
    ) -> list[OptionLogProbs]:
        """ln p of every option's letter and text as the beginning of the answer, teacher-forced.

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
        log_probs = self._branch_log_probs(queries, [candidate.branches for candidate in candidates], edits)
        return [self._option_scores(*pair) for pair in zip(candidates, log_probs)]

    @abstractmethod
    def _branch_log_probs(
        self,
        queries: Sequence[Query],
        branches: Sequence[Sequence[Sequence[int]]],
        edits: Sequence[Sequence[Edit]] | None,
    ) -> list[list[Tensor]]:
        """ln p of every token of every continuation of each query: (n,) float64 tensors on the CPU."""

    def _option_scores(self, candidate: OptionBranches, log_probs: Sequence[Tensor]) -> OptionLogProbs:
        """Letters, texts and reference of one question from the tokens' ln p of its branches."""
        sums = [float(part.sum()) for part in log_probs]
        if not all(map(math.isfinite, sums)):
            raise SpeechLMError(
                f"{self.name}: an option or reference answer has NaN or infinite log-probability; check the "
                "checkpoint's training log, or run this model in float32"
            )
        letters = tuple(log_sum([sums[number] for number in numbers]) for numbers in candidate.letters)
        texts = tuple(sums[number] for number in candidate.texts)
        counts = tuple(len(candidate.branches[number]) for number in candidate.texts)
        cost = None
        if candidate.reference is not None:
            cost = AnswerLoss(-sums[candidate.reference], len(candidate.branches[candidate.reference]))
        return OptionLogProbs(letters, texts, counts, cost)

    def prepare(self, queries: Sequence[Query], edits: Sequence[Sequence[Edit]] | None) -> None:
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


def end_ids(config: Any) -> list[int]:
    """End tokens of a config or tokenizer, which names one, several or none."""
    value = getattr(config, "eos_token_id", None)
    return [int(i) for i in (value if isinstance(value, list | tuple) else [value]) if i is not None]
