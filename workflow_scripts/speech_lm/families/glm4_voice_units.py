"""GLM-4-Voice's speech tokenizer: a Whisper encoder whose pooled states are replaced by the nearest of K codes.

The folder of the published tokenizer is read as it is. The encoder runs up to its quantised layer, on the real audio
filled up to whole units; convolutions and attention may be causal, or causal between blocks, as the config says.

    log-mel (100 per second) -> two convolutions (50) -> layers -> pooling (12.5) -> layers -> nearest code

Source: https://github.com/THUDM/GLM-4-Voice (speech_tokenizer), arXiv 2412.02612; written from its description.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import WhisperConfig, WhisperFeatureExtractor
from transformers.models.whisper.modeling_whisper import WhisperEncoderLayer

from workflow_scripts.speech_lm.protocol import SAMPLE_RATE, SpeechLMError
from workflow_scripts.speech_lm.torch_files import read_published

PREFIX = "model.encoder."
SEGMENT_SECONDS = 30
"""Longer audio is tokenised in segments of this length, each on its own."""


def is_glm4_voice_tokenizer(folder: Path) -> bool:
    """Whether a folder's config is that of this tokenizer."""
    path = Path(folder) / "config.json"
    return path.is_file() and json.loads(path.read_text(encoding="utf-8")).get("quantize_vocab_size") is not None


class VQEncoder(nn.Module):
    """The encoder up to the codes.

    Raises SpeechLMError for a config without pooling or codes, or with codes before the pooling.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.pool, self.pool_at = config.get("pooling_kernel_size"), int(config.get("pooling_position", 0))
        self.codes_at = int(config.get("quantize_position", 16))
        if self.pool is None or not 1 <= self.pool_at <= self.codes_at:
            raise SpeechLMError(
                f"pooling_kernel_size {self.pool}, pooling_position {self.pool_at} and quantize_position "
                f"{self.codes_at}: expected a pooling in front of the codes"
            )
        if config.get("pooling_type", "max") not in ("max", "avg"):
            raise SpeechLMError(f"pooling_type {config['pooling_type']!r} is neither max nor avg")
        self.average = config.get("pooling_type", "max") == "avg"
        self.causal_convolution = bool(config.get("encoder_causal_convolution"))
        self.causal = bool(config.get("encoder_causal_attention") or config.get("quantize_causal_encoder"))
        self.block = config.get("quantize_causal_block_size")
        known = {key: value for key, value in config.items() if key in WhisperConfig().to_dict()}
        whisper = WhisperConfig(**{key: value for key, value in known.items() if key != "model_type"})
        whisper._attn_implementation = "eager"
        width, padding = whisper.d_model, 0 if self.causal_convolution else 1
        self.conv1 = nn.Conv1d(whisper.num_mel_bins, width, kernel_size=3, padding=padding)
        self.conv2 = nn.Conv1d(width, width, kernel_size=3, stride=2, padding=padding)
        self.embed_positions = nn.Embedding(whisper.max_source_positions, width)
        self.layers = nn.ModuleList(WhisperEncoderLayer(whisper) for _ in range(self.codes_at))
        self.codebook = nn.Embedding(int(config["quantize_vocab_size"]), width)

    def forward(self, mel: Tensor, real: Tensor) -> Tensor:
        """Log-mel (1, bins, F) with `real` (F,) true at real audio -> codes of the real audio, (n,) int64.

        F must be a whole number of units (twice the pooling).
        """
        x = nn.functional.gelu(self._convolve(self.conv1, mel))
        x = nn.functional.gelu(self._convolve(self.conv2, x)).transpose(1, 2)
        real = real[::2]
        x = x + self.embed_positions.weight[: x.shape[1]]
        block = self.block
        mask = self._mask(real, block, x.dtype)
        for number, layer in enumerate(self.layers, start=1):
            output = layer(x, mask)
            x = output[0] if isinstance(output, tuple) else output
            if number == self.pool_at:
                x, real = self._pooled(x), real[:: self.pool]
                block = None if block is None else block // self.pool
                mask = self._mask(real, block, x.dtype)
        states = x[0][real].float()
        return torch.cdist(states, self.codebook.weight.float()).argmin(dim=1)

    def _convolve(self, convolution: nn.Conv1d, x: Tensor) -> Tensor:
        return convolution(nn.functional.pad(x, (2, 0)) if self.causal_convolution else x)

    def _pooled(self, x: Tensor) -> Tensor:
        pool = nn.functional.avg_pool1d if self.average else nn.functional.max_pool1d
        return pool(x.transpose(1, 2), self.pool).transpose(1, 2)

    def _mask(self, real: Tensor, block: int | None, dtype: torch.dtype) -> Tensor:
        """(1, 1, T, T) added to attention scores: real keys; where causal, none after the query's block or place."""
        places = torch.arange(len(real), device=real.device)
        seen = real[None, :].expand(len(real), -1)
        if self.causal:
            # Plain causal attention of the original looks at no padding mask: padding only follows.
            seen = places[None, :] <= places[:, None]
        elif block is not None:
            seen = seen & (places[None, :] // block <= places[:, None] // block)
        scores = torch.zeros(seen.shape, dtype=dtype, device=real.device)
        return scores.masked_fill(~seen, torch.finfo(dtype).min)[None, None]


class Glm4VoiceUnits:
    """Waveform -> codes, a `units.Quantizer`.

    Args:
        encoder: in eval mode. log_mel: the folder's feature extractor.
    """

    def __init__(self, encoder: VQEncoder, log_mel: WhisperFeatureExtractor) -> None:
        self.encoder, self.log_mel = encoder.eval(), log_mel
        self.samples_per_unit = log_mel.hop_length * 2 * int(encoder.pool)
        self.rate = SAMPLE_RATE / self.samples_per_unit

    @classmethod
    def from_folder(cls, folder: Path, device: torch.device) -> Glm4VoiceUnits:
        """The published tokenizer's folder: config.json, preprocessor_config.json and its weights.

        Raises SpeechLMError if a file or a tensor is missing.
        """
        folder = Path(folder)
        if not (folder / "preprocessor_config.json").is_file():
            raise SpeechLMError(f"{folder}/preprocessor_config.json is missing; fetch all files of the tokenizer")
        encoder = VQEncoder(json.loads((folder / "config.json").read_text(encoding="utf-8")))
        found = {
            name.removeprefix(PREFIX): tensor
            for name, tensor in read_published(folder).items()
            if name.startswith(PREFIX)
        }
        wanted = encoder.state_dict()
        if absent := sorted(wanted.keys() - found.keys()):
            raise SpeechLMError(f"{folder}: no tensor {PREFIX}{absent[0]}; is this GLM-4-Voice's speech tokenizer?")
        encoder.load_state_dict({name: found[name].float() for name in wanted})
        log_mel = WhisperFeatureExtractor.from_pretrained(folder, local_files_only=True)
        return cls(encoder.to(device).requires_grad_(False), log_mel)

    @torch.no_grad()
    def __call__(self, waveform: np.ndarray) -> np.ndarray:
        """(samples,) at 16 kHz -> (ceil(rate * seconds),) int64."""
        length = SEGMENT_SECONDS * SAMPLE_RATE
        segments = [waveform[start : start + length] for start in range(0, len(waveform), length)]
        return np.concatenate([self._segment(np.asarray(one, dtype=np.float32)) for one in segments])

    def _segment(self, audio: np.ndarray) -> np.ndarray:
        features = self.log_mel(
            audio,
            sampling_rate=SAMPLE_RATE,
            padding="longest",
            pad_to_multiple_of=self.samples_per_unit,
            truncation=False,
            return_attention_mask=True,
            return_tensors="pt",
        )
        device = self.encoder.codebook.weight.device
        real = features["attention_mask"][0].bool().to(device)
        return self.encoder(features["input_features"].to(device), real).cpu().numpy()
