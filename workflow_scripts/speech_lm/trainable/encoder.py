"""Whisper's encoder, frozen, as a feature extractor: waveform -> frames at 50 per second."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import WhisperFeatureExtractor, WhisperModel

from workflow_scripts.speech_lm.device import resolve_device, resolve_dtype
from workflow_scripts.speech_lm.protocol import SAMPLE_RATE

FRAMES_PER_SECOND = 50
"""Encoder frames per second of audio: 100 log-mel frames, halved by the second convolution."""


class WhisperFeatures:
    """Frozen Whisper encoder of a local transformers folder.

    window_seconds: waveforms are zero-padded to the next multiple of this. 30 is what Whisper was trained on and
    equals transformers' encoder. Shorter windows are several times faster on short utterances (the encoder then sees
    less trailing silence and fewer position embeddings, which Whisper was *not* trained on: record the setting).
    batch_size: waveforms of equal padded length per forward pass.
    """

    def __init__(
        self,
        folder: Path,
        *,
        device: str | torch.device = "auto",
        dtype: str | torch.dtype = "auto",
        window_seconds: float = 30.0,
        batch_size: int = 16,
    ) -> None:
        folder = Path(folder)
        if not (folder / "config.json").exists():
            raise FileNotFoundError(f"{folder}/config.json is missing: fetch the speech encoder asset first")
        self.device = resolve_device(device)
        self.dtype = resolve_dtype(dtype, self.device)
        model = WhisperModel.from_pretrained(
            folder, dtype=self.dtype, use_safetensors=True, local_files_only=True, attn_implementation="sdpa"
        )
        self.encoder = model.encoder.to(self.device).eval().requires_grad_(False)
        self.log_mel = WhisperFeatureExtractor.from_pretrained(folder, local_files_only=True)
        self.width: int = self.encoder.config.d_model
        self.limit_seconds = self.encoder.config.max_source_positions / FRAMES_PER_SECOND
        self.batch_size = batch_size
        # Two log-mel frames, 320 samples, become one encoder frame: a window must hold whole ones.
        samples = round(window_seconds * SAMPLE_RATE)
        if samples < 1 or samples % (SAMPLE_RATE // FRAMES_PER_SECOND) or window_seconds > self.limit_seconds:
            raise ValueError(
                f"encoder window is {window_seconds} s; it must be a multiple of {1 / FRAMES_PER_SECOND} s, more "
                f"than 0 and at most {self.limit_seconds:g} s"
            )
        self.window = samples

    def encode(self, waveforms: Sequence[np.ndarray], *, rate: int = SAMPLE_RATE) -> list[Tensor]:
        """(samples,) float32 mono 16 kHz waveforms -> CPU tensors (ceil(50 * seconds), d_enc), padding trimmed.

        Raises ValueError for another rate, empty or non-finite audio, and audio longer than the encoder's limit (30 s
        for Whisper): nothing is cut silently.
        """
        if rate != SAMPLE_RATE:
            raise ValueError(f"audio has {rate} samples per second, the encoder takes {SAMPLE_RATE}; resample it first")
        groups: dict[int, list[int]] = defaultdict(list)
        for index, waveform in enumerate(waveforms):
            groups[self._padded_samples(index, waveform)].append(index)
        encoded: dict[int, Tensor] = {}
        for n_samples, indices in sorted(groups.items()):
            for start in range(0, len(indices), self.batch_size):
                batch = indices[start : start + self.batch_size]
                hidden = self._forward([waveforms[index] for index in batch], n_samples).to("cpu")
                for index, row in zip(batch, hidden):
                    encoded[index] = row[: frame_count(len(waveforms[index]))].clone()
        return [encoded[index] for index in range(len(waveforms))]

    def encode_padding(self, waveforms: Sequence[np.ndarray]) -> list[Tensor]:
        """The frames behind each waveform when it is padded with silence to the encoder's limit (30 s for Whisper).

        CPU tensors (limit - ceil(50 * seconds), d_enc), one waveform at a time; waveforms and errors as in `encode`.
        """
        limit = round(self.limit_seconds * SAMPLE_RATE)
        behind = []
        for index, waveform in enumerate(waveforms):
            self._padded_samples(index, waveform)
            behind.append(self._forward([waveform], limit)[0, frame_count(len(waveform)) :].to("cpu", copy=True))
        return behind

    def _padded_samples(self, index: int, waveform: np.ndarray) -> int:
        if waveform.ndim != 1 or len(waveform) == 0:
            raise ValueError(f"waveform {index} has shape {waveform.shape}; it must be mono with at least one sample")
        if not np.isfinite(waveform).all():
            raise ValueError(f"waveform {index} holds NaN or infinite samples")
        limit = round(self.limit_seconds * SAMPLE_RATE)
        if len(waveform) > limit:
            raise ValueError(
                f"waveform {index} is {len(waveform) / SAMPLE_RATE:.2f} s long, the encoder takes at most "
                f"{self.limit_seconds:g} s; drop or split it (it is never cut silently)"
            )
        return min(-(-len(waveform) // self.window) * self.window, limit)

    @torch.no_grad()
    def _forward(self, waveforms: Sequence[np.ndarray], n_samples: int) -> Tensor:
        """Log-mel and encoder at any length: transformers' own forward accepts 30 s only."""
        padded = [np.pad(waveform.astype(np.float32), (0, n_samples - len(waveform))) for waveform in waveforms]
        mel = self.log_mel(
            padded, sampling_rate=SAMPLE_RATE, max_length=n_samples, truncation=False, return_tensors="pt"
        )["input_features"].to(self.device, self.dtype)
        encoder = self.encoder
        hidden = nn.functional.gelu(encoder.conv1(mel))
        hidden = nn.functional.gelu(encoder.conv2(hidden)).permute(0, 2, 1)
        hidden = hidden + encoder.embed_positions.weight[: hidden.shape[1]]
        for layer in encoder.layers:
            output = layer(hidden, None)
            hidden = output[0] if isinstance(output, tuple) else output
        return encoder.layer_norm(hidden)


def frame_count(n_samples: int) -> int:
    """Encoder frames that cover `n_samples` of real audio: ceil(50 * seconds)."""
    return -(-n_samples * FRAMES_PER_SECOND // SAMPLE_RATE)
