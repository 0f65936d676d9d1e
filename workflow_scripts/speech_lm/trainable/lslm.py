"""The trainable model: a causal language model that reads adapter outputs at the speech positions of its input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from workflow_scripts.speech_lm.anatomy import causal_lm, decoder_of, vocabulary_logits
from workflow_scripts.speech_lm.protocol import SpeechLMError
from workflow_scripts.speech_lm.trainable.adapters import Adapter

IGNORED_LABEL = -100
"""Label of a position that does not enter the loss (transformers' convention)."""


@dataclass
class LSLMOutput:
    """What a training step needs.

    loss: mean of `token_nll`, or None without labels. logits: (N, V) at the N predicting positions only.
    token_nll: (N,) -ln p of each label in nats, float32. rows: (N,) batch row of each label.
    """

    loss: Tensor | None
    logits: Tensor
    token_nll: Tensor | None
    rows: Tensor | None


class LSLM(nn.Module):
    """Language model + speech adapter (the adapter is None for the untuned backbone).

    `language_model` may be wrapped by peft: LoRA changes the layers in place, so the decoder below is the tuned one.
    """

    def __init__(self, language_model: nn.Module, adapter: Adapter | None) -> None:
        super().__init__()
        width = causal_lm(language_model).get_input_embeddings().weight.shape[1]
        if adapter is not None and adapter.shape.d_model != width:
            raise ValueError(f"the adapter gives vectors of {adapter.shape.d_model}, the language model takes {width}")
        self.language_model = language_model
        self.adapter = adapter

    @property
    def config(self) -> Any:
        """The language model's transformers config."""
        return causal_lm(self.language_model).config

    @property
    def embedding_count(self) -> int:
        """Rows of the token embeddings: ids from there on are not in the model's vocabulary."""
        return causal_lm(self.language_model).get_input_embeddings().weight.shape[0]

    def embed_tokens(self, input_ids: Tensor) -> Tensor:
        """(B, T) ids -> (B, T, d) embeddings."""
        return causal_lm(self.language_model).get_input_embeddings()(input_ids)

    def embed_speech(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(S, F, d_enc) features, (S,) lengths in frames -> (S, ceil(F/stack), d) and (S,) lengths T_s."""
        if self.adapter is None:
            raise SpeechLMError(
                "this model has no speech adapter, so it cannot take speech: it is the untuned backbone. "
                "Load a trained checkpoint, or use the forms text and asr"
            )
        return self.adapter(features, lengths)

    def embed(
        self,
        input_ids: Tensor,
        features: Tensor | None = None,
        feature_lengths: Tensor | None = None,
        speech_mask: Tensor | None = None,
    ) -> Tensor:
        """Token embeddings with the adapter's outputs at the speech positions; arguments as in `forward`."""
        embeds = self.embed_tokens(input_ids)
        if features is None:
            if speech_mask is not None and bool(speech_mask.any()):
                raise ValueError("speech_mask marks positions, but there are no features to put there")
            return embeds
        if feature_lengths is None or speech_mask is None:
            raise ValueError("features need feature_lengths and speech_mask")
        spoken, lengths = self.embed_speech(features, feature_lengths)
        marked = speech_mask.sum(dim=1)
        marked = marked[marked > 0]
        if marked.tolist() != lengths.tolist():
            raise ValueError(
                f"speech_mask marks {marked.tolist()} positions in its rows with speech, the adapter gives "
                f"{lengths.tolist()}; features must follow the order of those rows"
            )
        real = torch.arange(spoken.shape[1], device=spoken.device) < lengths.to(spoken.device)[:, None]
        return embeds.masked_scatter(speech_mask[..., None], spoken[real].to(embeds.dtype))

    def forward(
        self,
        input_ids: Tensor,
        labels: Tensor | None = None,
        features: Tensor | None = None,
        feature_lengths: Tensor | None = None,
        speech_mask: Tensor | None = None,
    ) -> LSLMOutput:
        """Next-token cost of right-padded rows [prefix ids][T_s placeholders][suffix ids][answer ids].

        input_ids: (B, T); placeholders and right padding may hold any valid id.
        labels: (B, T), the ids to predict, -100 elsewhere; not shifted (position t is predicted from t - 1).
        features: (S, F, d_enc) encoder output of the S rows that have speech, in row order, padded at the end.
        feature_lengths: (S,) real frames. speech_mask: (B, T) bool, ceil(frames / stack) positions in each such row.

        No attention mask is used: attention is causal and padding is at the right, so no real position sees it. The
        vocabulary product is computed at label positions only (without labels: at every position).
        Raises ValueError if mask, features and labels do not fit each other.
        """
        embeds = self.embed(input_ids, features, feature_lengths, speech_mask)
        hidden = decoder_of(self.language_model)(inputs_embeds=embeds, use_cache=False).last_hidden_state
        model = causal_lm(self.language_model)
        if labels is None:
            return LSLMOutput(None, vocabulary_logits(model, hidden), None, None)
        if bool((labels[:, 0] != IGNORED_LABEL).any()):
            raise ValueError("labels[:, 0] must be -100: nothing comes before the first position to predict it from")
        rows, columns = (labels[:, 1:] != IGNORED_LABEL).nonzero(as_tuple=True)
        if len(rows) == 0:
            raise ValueError("labels hold no position to predict; every row was cut before its answer")
        logits = vocabulary_logits(model, hidden[rows, columns])
        token_nll = nn.functional.cross_entropy(logits.float(), labels[rows, columns + 1], reduction="none")
        return LSLMOutput(token_nll.mean(), logits, token_nll, rows)
