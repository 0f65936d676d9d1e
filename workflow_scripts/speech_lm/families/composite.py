"""Encoder + adapter + language model glued together: the paper's models, and the untuned backbone."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.speech_lm.families.base import DecoderSpeechLM
from workflow_scripts.speech_lm.families.chat import ChatTemplate
from workflow_scripts.speech_lm.protocol import Query, Speech, SpeechLMError
from workflow_scripts.speech_lm.trainable.encoder import FRAMES_PER_SECOND, WhisperFeatures
from workflow_scripts.speech_lm.trainable.lslm import LSLM


class CompositeSpeechLM(DecoderSpeechLM):
    """An `LSLM` as a `SpeechLM`. The audio's adapter outputs stand where the text of a written query would.

    encoder: computes features of raw waveforms; not needed where `Speech.features` is given.
    Without adapter (the untuned backbone) written queries work and spoken ones raise SpeechLMError.
    """

    def __init__(
        self,
        lslm: LSLM,
        tokenizer: object,
        *,
        name: str = "model",
        system_prompt: str | None = None,
        encoder: WhisperFeatures | None = None,
    ) -> None:
        super().__init__(name, lslm.language_model, tokenizer)
        self.lslm = lslm
        self.template = ChatTemplate(
            tokenizer,
            system_prompt=system_prompt,
            model_name=name,
            n_embeddings=lslm.embedding_count,
        )
        self.encoder = encoder

    def encode_text(self, text: str) -> Query:
        """Chat template with the text in the user's turn; the span is the text's tokens."""
        written = self.template.write(text)
        start, end = written.span
        ids = written.input_ids[start:end]
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

    @torch.no_grad()
    def encode_speech(self, speech: Speech) -> Query:
        """The same template with the T_s = ceil(frames / stack) adapter outputs in the place of the text.

        Raises SpeechLMError without adapter, or if neither features nor an encoder are there; ValueError if the
        features are not the real frames of `speech.seconds`.
        """
        if self.lslm.adapter is None:
            raise SpeechLMError(
                f"{self.name}: this is the untuned backbone, it has no speech adapter; evaluate it on the forms text "
                "and asr, or choose a trained checkpoint"
            )
        return self._spoken(self._features(speech), speech.seconds)

    @torch.no_grad()
    def encode_padded(self, speech: Speech) -> Query | None:
        """As `encode_speech` with the encoder's frames behind the audio; None where they are not known."""
        behind = speech.padding
        if behind is None and speech.features is None and self.encoder is not None and speech.waveform is not None:
            behind = self.encoder.encode_padding([speech.waveform])[0]
        if behind is None or self.lslm.adapter is None:
            return None
        real = self._features(speech)
        return self._spoken(torch.cat([real, torch.as_tensor(behind).to(real.device, real.dtype)]), speech.seconds)

    def _spoken(self, features: Tensor, seconds: float) -> Query:
        """The query around encoder frames (F, d_enc)."""
        lengths = torch.tensor([len(features)], device=self.device)
        spoken, _ = self.lslm.embed_speech(features[None].to(self.device), lengths)
        before, after = self.template.ids
        ids = torch.tensor([[*before, *after]], device=self.device)
        frame = self.lslm.embed_tokens(ids)
        spoken = spoken.to(frame.dtype)
        embeds = torch.cat([frame[:, : len(before)], spoken, frame[:, len(before) :]], dim=1)
        n_positions = spoken.shape[1]
        step = self.lslm.adapter.shape.stack / FRAMES_PER_SECOND
        return Query(
            inputs={"inputs_embeds": embeds},
            length=embeds.shape[1],
            span=(len(before), len(before) + n_positions),
            tokens=tuple(f"{position * step:.2f}s" for position in range(n_positions)),
            token_ids=None,
            char_spans=None,
            seconds=seconds,
            form="speech",
        )

    def _features(self, speech: Speech) -> Tensor:
        if speech.features is None:
            if self.encoder is None:
                raise SpeechLMError(
                    f"{self.name}: the query has no encoder features and the model was loaded without encoder; give "
                    "Speech.features, or load the model with its encoder folder"
                )
            if speech.waveform is None:
                raise ValueError("a spoken query needs a waveform or encoder features")
            return self.encoder.encode([speech.waveform], rate=speech.rate)[0]
        features = speech.features
        if isinstance(features, np.ndarray):
            features = torch.from_numpy(features)
        expected = int(np.ceil(round(speech.seconds * FRAMES_PER_SECOND, 6)))
        if features.ndim != 2 or abs(len(features) - expected) > 1:
            raise ValueError(
                f"features of shape {tuple(features.shape)} do not fit {speech.seconds:.3f} s of audio: expected "
                f"({expected}, d) real frames at {FRAMES_PER_SECOND} per second"
            )
        return features
