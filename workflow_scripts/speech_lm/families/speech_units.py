"""Waveforms to units: a HuBERT layer and the nearest of K centroids (SpeechGPT's recipe, without fairseq)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import HubertModel

from workflow_scripts.speech_lm.families.glm4_voice_units import Glm4VoiceUnits, is_glm4_voice_tokenizer
from workflow_scripts.speech_lm.protocol import SpeechLMError

CENTROIDS = "centroids.safetensors"


class HubertUnits:
    """Index of the centroid nearest to each frame of a HuBERT layer.

    Source: SpeechGPT (arXiv 2305.11000): mHuBERT, layer 11, 1000 clusters.

    Args:
        model: HuBERT. centroids: (K, d). layer: 1 is the first transformer layer's output.
        normalise: zero mean and unit variance of the waveform first (models trained that way say so in their feature
            extractor; mHuBERT base was not).
    """

    def __init__(self, model: nn.Module, centroids: Tensor, layer: int, *, normalise: bool = False) -> None:
        n_layers, width = model.config.num_hidden_layers, model.config.hidden_size
        if not 1 <= layer <= n_layers:
            raise SpeechLMError(f"quantizer_layer is {layer}, this HuBERT has layers 1 .. {n_layers}")
        if centroids.ndim != 2 or centroids.shape[1] != width:
            raise SpeechLMError(f"centroids have shape {tuple(centroids.shape)}, expected (K, {width})")
        self.model, self.centroids, self.layer, self.normalise = model.eval(), centroids, layer, normalise
        self.rate = 16_000 / float(np.prod(model.config.conv_stride))

    @classmethod
    def from_folder(cls, folder: Path, layer: int, device: torch.device) -> HubertUnits:
        """HuBERT in transformers' layout with `centroids.safetensors` (one tensor `centroids`) beside it."""
        path = Path(folder) / CENTROIDS
        if not path.is_file():
            raise SpeechLMError(f"{path} is missing; it must hold the k-means centres as tensor `centroids`")
        model = HubertModel.from_pretrained(folder, use_safetensors=True, local_files_only=True).to(device)
        extractor = Path(folder) / "preprocessor_config.json"
        normalise = extractor.is_file() and '"do_normalize": true' in extractor.read_text(encoding="utf-8")
        return cls(model, load_file(path)["centroids"].float().to(device), layer, normalise=normalise)

    @torch.no_grad()
    def __call__(self, waveform: np.ndarray) -> np.ndarray:
        """(samples,) at 16 kHz -> (n,) int64."""
        audio = torch.from_numpy(np.asarray(waveform, dtype=np.float32)).to(self.centroids.device)
        if self.normalise:
            audio = (audio - audio.mean()) / (audio.std(unbiased=False) + 1e-7)
        hidden = self.model(audio[None], output_hidden_states=True).hidden_states[self.layer][0].float()
        return torch.cdist(hidden, self.centroids).argmin(dim=1).cpu().numpy()


def load_quantizer(folder: Path, layer: int, device: torch.device) -> HubertUnits | Glm4VoiceUnits:
    """The quantizer in a folder: GLM-4-Voice's speech tokenizer, else HuBERT, of which `layer` is quantised."""
    if is_glm4_voice_tokenizer(folder):
        return Glm4VoiceUnits.from_folder(folder, device)
    return HubertUnits.from_folder(folder, layer, device)
