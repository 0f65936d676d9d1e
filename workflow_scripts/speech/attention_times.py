"""Word times from the recogniser: where Whisper's decoder looks in the audio while it writes a transcript.

The transcript is teacher-forced; the cross-attention of the heads that the model's generation config names
(`alignment_heads`) is normalised over the tokens, smoothed over the frames, averaged over the heads, and the cheapest
warping path through its negative gives each token its first frame (the method of OpenAI's Whisper for word timestamps,
written anew). A word lasts until the next one starts, so that a pause belongs to the word before it.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import median_filter
from torch import Tensor
from transformers import PreTrainedTokenizerFast, WhisperForConditionalGeneration

from workflow_scripts.measures.monotone_paths import dtw
from workflow_scripts.speech.whisper_decoder import FRAMES_PER_SECOND, prompt_ids
from workflow_scripts.speech.word_matching import SpokenWord
from workflow_scripts.speech_lm.device import resolve_device

SMOOTHED_FRAMES = 7
"""Width of the median filter, frames of 20 ms (Whisper's own)."""


class AttentionTimes:
    """Times of the words of transcripts by a local Whisper folder, in float32: attention is read, not only used."""

    def __init__(self, folder: Path, *, device: str = "auto") -> None:
        self.device = resolve_device(device)
        model = WhisperForConditionalGeneration.from_pretrained(
            Path(folder),
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            attn_implementation="eager",
        )
        self._decoder = model.model.decoder.to(self.device).eval().requires_grad_(False)
        self._tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
        options = model.generation_config
        self._prompt = prompt_ids(options, int(model.config.decoder_start_token_id))
        self._end = int(model.config.eos_token_id)
        self._longest = model.config.max_target_positions - len(self._prompt) - 1
        layers, heads = model.config.decoder_layers, model.config.decoder_attention_heads
        later = [(layer, head) for layer in range(layers // 2, layers) for head in range(heads)]
        named = getattr(options, "alignment_heads", None)
        self._heads = [(int(layer), int(head)) for layer, head in named] if named else later

    @torch.no_grad()
    def of(self, transcript: str, frames: Tensor, real: int) -> list[SpokenWord]:
        """Words of a transcript in order.

        Args:
            frames: (F, d_enc) encoder output, trailing silence included.
            real: frames of the real audio, from the first on; no word lies beyond them.

        A transcript of more tokens than the decoder takes is timed up to there; its later words are left out.
        """
        encoded = self._tokenizer(f" {transcript}", add_special_tokens=False, return_offsets_mapping=True)
        ids, places = encoded["input_ids"][: self._longest], encoded["offset_mapping"][: self._longest]
        if not ids:
            return []
        tokens = torch.tensor([[*self._prompt, *ids, self._end]], device=self.device)
        output = self._decoder(
            input_ids=tokens,
            encoder_hidden_states=frames.to(self.device, torch.float32)[None],
            output_attentions=True,
            use_cache=False,
        )
        attention = torch.stack([output.cross_attentions[layer][0, head] for layer, head in self._heads])
        starts = token_starts(attention.cpu().numpy()[:, :, :real], len(self._prompt) - 1)
        return _words(f" {transcript}", places, starts / FRAMES_PER_SECOND)


def token_starts(attention: np.ndarray, first: int) -> np.ndarray:
    """First frame of each text token and of the end of the text, (n + 1,) int, never running back.

    Args:
        attention: (heads, positions, frames) cross-attention; position `first` + k looks where token k is written, and
            the last position, of the end token itself, is left out.
        first: position before the first text token.
    """
    weights = attention / np.maximum(attention.sum(axis=-1, keepdims=True), 1e-12)
    spread = weights.std(axis=1, keepdims=True)
    weights = (weights - weights.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1.0)
    weights = median_filter(weights, size=(1, 1, SMOOTHED_FRAMES), mode="reflect")
    looked = weights.mean(axis=0)[first:-1]
    pairs = dtw(-looked.T[None]).pairs[0]
    starts = np.full(len(looked), looked.shape[1])
    np.minimum.at(starts, pairs[:, 1], pairs[:, 0])
    return starts


def _words(text: str, places: Sequence[tuple[int, int]], seconds: np.ndarray) -> list[SpokenWord]:
    """Runs without space, from the start of their first token to that of the token behind their last one."""
    found = []
    for word in re.finditer(r"\S+", text):
        own = [k for k, (start, end) in enumerate(places) if start < word.end() and end > word.start()]
        if own:
            found.append(SpokenWord(word[0], float(seconds[own[0]]), float(seconds[own[-1] + 1])))
    return found
