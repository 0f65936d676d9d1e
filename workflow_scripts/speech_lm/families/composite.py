"""Encoder + adapter + language model glued together: the paper's models, and the untuned backbone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.speech_lm.device import resolve_device, resolve_dtype
from workflow_scripts.speech_lm.families.base import DecoderSpeechLM
from workflow_scripts.speech_lm.families.chat import ChatTemplate
from workflow_scripts.speech_lm.protocol import ModelFolders, Query, Speech, SpeechLMError
from workflow_scripts.speech_lm.trainable.checkpoint import load_lslm
from workflow_scripts.speech_lm.trainable.encoder import FRAMES_PER_SECOND, WhisperFeatures
from workflow_scripts.speech_lm.trainable.lslm import LSLM
from workflow_scripts.speech_lm.transformers_folder import load_tokenizer


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
        features = features[None].to(self.device)
        spoken, _, starts = self.lslm.adapter.timed(features, lengths)
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
            tokens=tuple(f"{step * start:.2f}s" for start in starts[0].tolist()),
            token_ids=None,
            char_spans=None,
            seconds=seconds,
            form="speech",
            starts=tuple(step * start for start in starts[0].tolist()),
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


def load_composite(
    *,
    backbone: Path,
    checkpoint: Path | None,
    encoder: Path | None,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    system_prompt: str | None = None,
    window_seconds: float = 30.0,
    merge: bool = True,
    name: str | None = None,
) -> CompositeSpeechLM:
    """A composite model, ready to measure.

    backbone: transformers folder of the language model. checkpoint: folder written by `save_lslm`, None for the
    untuned backbone. encoder: Whisper folder for raw waveforms, None if features are cached. The other arguments are
    those of `resolve_device`, `resolve_dtype`, `ChatTemplate`, `WhisperFeatures` and `load_lslm`; `name` is what errors
    call the model (default: the folder's name).
    """
    device = resolve_device(device)
    dtype = resolve_dtype(dtype, device)
    lslm = load_lslm(checkpoint, backbone, dtype=dtype, device=device, merge=merge)
    tokenizer = load_tokenizer(backbone)
    features = None
    if encoder is not None:
        features = WhisperFeatures(encoder, device=device, dtype=dtype, window_seconds=window_seconds)
    label = name or Path(checkpoint or backbone).name
    return CompositeSpeechLM(lslm, tokenizer, name=label, system_prompt=system_prompt, encoder=features)


def open_composite(
    folders: ModelFolders,
    entry: Mapping[str, Any],
    *,
    device: torch.device,
    dtype: torch.dtype,
    system_prompt: str | None,
) -> CompositeSpeechLM:
    """A checkpoint on its backbone (an `Opener`); waveforms are encoded in windows of the entry's `window_seconds`."""
    return load_composite(
        backbone=folders.backbone,
        checkpoint=folders.weights,
        encoder=folders.encoder,
        device=device,
        dtype=dtype,
        system_prompt=system_prompt,
        window_seconds=entry.get("window_seconds", 30.0),
        name=f"{entry['name']}/{folders.weights.name}",
    )
