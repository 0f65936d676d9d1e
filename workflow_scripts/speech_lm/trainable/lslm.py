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
    speech_mask: (B, T) where speech stands in the rows that the language model read; None if none was given.
    """

    loss: Tensor | None
    logits: Tensor
    token_nll: Tensor | None
    rows: Tensor | None
    speech_mask: Tensor | None = None


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
        """(S, F, d_enc) features, (S,) lengths in frames -> (S, largest T_s, d) and (S,) lengths T_s."""
        if self.adapter is None:
            raise SpeechLMError(
                "this model has no speech adapter, so it cannot take speech: it is the untuned backbone. "
                "Load a trained checkpoint, or use the forms text and asr"
            )
        return self.adapter(features, lengths)

    def embed(
        self,
        input_ids: Tensor,
        labels: Tensor | None = None,
        features: Tensor | None = None,
        feature_lengths: Tensor | None = None,
        speech_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Token embeddings with the adapter's outputs at the speech positions, labels, mask; arguments as in `forward`.

        A row for which the adapter gives fewer vectors than are marked is closed up: the places left over go behind it,
        unmarked, and are cut off as far as no row needs them.
        """
        embeds = self.embed_tokens(input_ids)
        if features is None:
            if speech_mask is not None and bool(speech_mask.any()):
                raise ValueError("speech_mask marks positions, but there are no features to put there")
            return embeds, labels, speech_mask
        if feature_lengths is None or speech_mask is None:
            raise ValueError("features need feature_lengths and speech_mask")
        spoken, lengths = self.embed_speech(features, feature_lengths)
        marked = speech_mask.sum(dim=1)
        with_speech = marked > 0
        most = self.adapter.output_lengths(feature_lengths).tolist()
        if marked[with_speech].tolist() != most:
            raise ValueError(
                f"speech_mask marks {marked[with_speech].tolist()} positions in its rows with speech, the adapter "
                f"gives {most}; features must follow the order of those rows"
            )
        real = torch.arange(spoken.shape[1], device=spoken.device) < lengths.to(spoken.device)[:, None]
        given = torch.zeros_like(marked).masked_scatter(with_speech, lengths.to(marked.device))
        filled = speech_mask & (speech_mask.cumsum(dim=1) <= given[:, None])
        embeds = embeds.masked_scatter(filled[..., None], spoken[real].to(embeds.dtype))
        if torch.equal(filled, speech_mask):
            return embeds, labels, filled
        left_over = speech_mask & ~filled
        width = input_ids.shape[1] - int(left_over.sum(dim=1).min())
        order = left_over.int().argsort(dim=1, stable=True)[:, :width]
        embeds = embeds.gather(1, order[..., None].expand(-1, -1, embeds.shape[2]))
        return embeds, None if labels is None else labels.gather(1, order), filled.gather(1, order)

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
        feature_lengths: (S,) real frames. speech_mask: (B, T) bool, ceil(frames / stack) positions in each such row;
        those that the adapter leaves empty (`PosteriorAdapter`, collapsed) are taken out of the row.

        No attention mask is used: attention is causal and padding is at the right, so no real position sees it. The
        vocabulary product is computed at label positions only (without labels: at every position).
        Raises ValueError if mask, features and labels do not fit each other.
        """
        embeds, labels, speech_mask = self.embed(input_ids, labels, features, feature_lengths, speech_mask)
        hidden = decoder_of(self.language_model)(inputs_embeds=embeds, use_cache=False).last_hidden_state
        model = causal_lm(self.language_model)
        if labels is None:
            return LSLMOutput(None, vocabulary_logits(model, hidden), None, None, speech_mask)
        if bool((labels[:, 0] != IGNORED_LABEL).any()):
            raise ValueError("labels[:, 0] must be -100: nothing comes before the first position to predict it from")
        rows, columns = (labels[:, 1:] != IGNORED_LABEL).nonzero(as_tuple=True)
        if len(rows) == 0:
            raise ValueError("labels hold no position to predict; every row was cut before its answer")
        logits = vocabulary_logits(model, hidden[rows, columns])
        token_nll = nn.functional.cross_entropy(logits.float(), labels[rows, columns + 1], reduction="none")
        return LSLMOutput(token_nll.mean(), logits, token_nll, rows, speech_mask)
