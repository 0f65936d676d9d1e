"""Greedy Whisper decoding from encoder output that was computed elsewhere.

The decoder must see every frame the encoder saw, trailing silence included: cross attention restricted to the frames of
the real audio makes Whisper base loop on many short questions. So rows of one batch have equal numbers of frames, and
cross attention needs no mask.

`generate(encoder_outputs=...)` of transformers in this loop's place: in float32 the same 18 transcripts of whisper-base
for 1.08 times the CPU time (two repeats, one thread); in bfloat16 1.30 times, and one of the 18 comes out another.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear, scaled_dot_product_attention
from transformers import GenerationConfig, PreTrainedTokenizerFast, WhisperForConditionalGeneration

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.speech_lm.device import resolve_device, resolve_dtype

MAX_TOKENS = 200
"""Longest transcript in tokens, whatever the length of the audio."""
TOKENS_PER_SECOND, EXTRA_TOKENS = 8, 24
"""Audio of s seconds gets at most 8 s + 24 tokens: speech has about 4 a second, so only repetition loops get there."""
FRAMES_PER_SECOND = 50
TOKEN_BLOCK = 32
"""The visible part of the token cache grows in these steps: each new shape makes the kernels prepare again."""
LANGUAGE, TASK = "<|en|>", "transcribe"


@dataclass(frozen=True)
class Transcript:
    """What was heard, and why decoding ended: "stop" (end of text) or "length" (too many tokens, usually a loop)."""

    text: str
    finish_reason: str


class WhisperDecoder:
    """English transcription without timestamps by a local Whisper folder (transformers layout).

    The generation config decides what may be said: `suppress_tokens` never, `begin_suppress_tokens` not at the start.
    All special ids above end-of-text (languages, tasks, timestamps) are ruled out as well, as none are asked for.
    """

    def __init__(
        self,
        folder: Path,
        *,
        device: str = "auto",
        dtype: str | torch.dtype = "auto",
        batch_size: int = 16,
        max_tokens: int = MAX_TOKENS,
    ) -> None:
        folder = Path(folder)
        if not (folder / "generation_config.json").exists():
            raise ArtifactError(f"{folder}: no generation_config.json; the ASR asset must be a whole Whisper model")
        self.device = resolve_device(device)
        self.dtype = resolve_dtype(dtype, self.device)
        model = WhisperForConditionalGeneration.from_pretrained(
            folder, dtype=self.dtype, use_safetensors=True, local_files_only=True
        )
        self._decoder = model.model.decoder.to(self.device).eval().requires_grad_(False)
        self._n_heads = model.config.decoder_attention_heads
        self.width: int = model.config.d_model
        self.batch_size = batch_size
        self._tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
        options = model.generation_config
        self._end = int(model.config.eos_token_id)
        self._prompt = prompt_ids(options, int(model.config.decoder_start_token_id))
        self._max_tokens = min(max_tokens, model.config.max_target_positions - len(self._prompt))
        self._never = torch.zeros(model.config.vocab_size, dtype=torch.bool, device=self.device)
        self._never[list(options.suppress_tokens or [])] = True
        self._never[self._end + 1 :] = True
        self._not_first = self._never.clone()
        self._not_first[list(options.begin_suppress_tokens or [])] = True

    def transcribe(self, features: Sequence[Tensor]) -> list[Transcript]:
        """(frames, d_enc) encoder output of each utterance, with its padding -> transcripts in the same order.

        Raises ValueError for features of another width than the model's or without frames.
        """
        groups: dict[int, list[int]] = defaultdict(list)
        for number, block in enumerate(features):
            if block.ndim != 2 or block.shape[1] != self.width or not len(block):
                raise ValueError(
                    f"features {number} have shape {tuple(block.shape)}, the recogniser takes (frames >= 1, "
                    f"{self.width}); encoder and recogniser must be of the same model"
                )
            groups[len(block)].append(number)
        found: dict[int, Transcript] = {}
        for _, members in sorted(groups.items()):
            for start in range(0, len(members), self.batch_size):
                batch = members[start : start + self.batch_size]
                found.update(zip(batch, self._decode(torch.stack([features[index] for index in batch]))))
        return [found[index] for index in range(len(features))]

    @torch.no_grad()
    def _decode(self, frames: Tensor) -> list[Transcript]:
        """Transcripts of a batch (B, frames, d_enc). A row that ended keeps being computed until half the rows did."""
        longest = min(self._max_tokens, frames.shape[1] * TOKENS_PER_SECOND // FRAMES_PER_SECOND + EXTRA_TOKENS)
        cache = self._new_cache(frames.to(self.device, self.dtype), len(self._prompt) + longest)
        rows = list(range(len(frames)))  # original row of every row still computed
        heard: list[list[int]] = [[] for _ in rows]
        ended: set[int] = set()
        tokens = torch.tensor([self._prompt] * len(rows), device=self.device)
        for step in range(longest):
            hidden = self._forward(tokens, cache)[:, -1]
            logits = linear(hidden, self._decoder.embed_tokens.weight).float()
            chosen = logits.masked_fill(self._never if step else self._not_first, -torch.inf).argmax(dim=-1)
            for row, token in zip(rows, chosen.tolist()):
                if token == self._end:
                    ended.add(row)
                elif row not in ended:
                    heard[row].append(token)
            active = [index for index, row in enumerate(rows) if row not in ended]
            if not active:
                break
            if len(active) <= len(rows) // 2:
                keep = torch.tensor(active, device=self.device)
                cache.keep(keep)
                chosen, rows = chosen[keep], [rows[index] for index in active]
            tokens = chosen[:, None]
        texts = self._tokenizer.batch_decode(heard, skip_special_tokens=True)
        return [
            Transcript(" ".join(text.split()), "stop" if row in ended else "length") for row, text in enumerate(texts)
        ]

    def _new_cache(self, frames: Tensor, capacity: int) -> "_Cache":
        layers = self._decoder.layers
        shape = (len(layers), len(frames), self._n_heads, capacity, self.width // self._n_heads)
        return _Cache(
            keys=frames.new_zeros(shape),
            values=frames.new_zeros(shape),
            cross_keys=[self._heads(layer.encoder_attn.k_proj(frames)).contiguous() for layer in layers],
            cross_values=[self._heads(layer.encoder_attn.v_proj(frames)).contiguous() for layer in layers],
        )

    def _forward(self, tokens: Tensor, cache: "_Cache") -> Tensor:
        """Decoder output (B, n, d), after the final norm, of n new tokens per row."""
        decoder, first, last = self._decoder, cache.n_tokens, cache.n_tokens + tokens.shape[1]
        hidden = decoder.embed_tokens(tokens) + decoder.embed_positions.weight[first:last]
        visible = min(-(-last // TOKEN_BLOCK) * TOKEN_BLOCK, cache.keys.shape[3])
        causal = torch.arange(visible, device=self.device) <= torch.arange(first, last, device=self.device)[:, None]
        for number, layer in enumerate(decoder.layers):
            normed = layer.self_attn_layer_norm(hidden)
            keys, values = cache.keys[number], cache.values[number]
            keys[:, :, first:last] = self._heads(layer.self_attn.k_proj(normed))
            values[:, :, first:last] = self._heads(layer.self_attn.v_proj(normed))
            hidden = hidden + self._attend(
                layer.self_attn, normed, keys[:, :, :visible], values[:, :, :visible], causal
            )
            normed = layer.encoder_attn_layer_norm(hidden)
            hidden = hidden + self._attend(
                layer.encoder_attn, normed, cache.cross_keys[number], cache.cross_values[number], None
            )
            hidden = hidden + layer.fc2(gelu(layer.fc1(layer.final_layer_norm(hidden))))
        cache.n_tokens = last
        return decoder.layer_norm(hidden)

    def _heads(self, projected: Tensor) -> Tensor:
        """(B, n, d) -> (B, heads, n, d / heads)."""
        return projected.unflatten(-1, (self._n_heads, -1)).transpose(1, 2)

    def _attend(
        self, attention: nn.Module, normed: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None
    ) -> Tensor:
        mixed = scaled_dot_product_attention(self._heads(attention.q_proj(normed)), keys, values, attn_mask=mask)
        return attention.out_proj(mixed.transpose(1, 2).flatten(2))


@dataclass
class _Cache:
    """Keys and values of one batch.

    keys, values: (layers, B, heads, capacity, d / heads), of which `n_tokens` are filled.
    cross_keys, cross_values: per layer (B, heads, frames, d / heads).
    """

    keys: Tensor
    values: Tensor
    cross_keys: list[Tensor]
    cross_values: list[Tensor]
    n_tokens: int = 0

    def keep(self, rows: Tensor) -> None:
        """Keep only these rows."""
        self.keys, self.values = self.keys[:, rows], self.values[:, rows]
        self.cross_keys = [keys[rows] for keys in self.cross_keys]
        self.cross_values = [values[rows] for values in self.cross_values]


def prompt_ids(options: GenerationConfig, start: int) -> list[int]:
    """Start, language, task, no timestamps; English-only models know neither language nor task."""
    if not getattr(options, "is_multilingual", False):
        return [start, options.no_timestamps_token_id]
    return [start, options.lang_to_id[LANGUAGE], options.task_to_id[TASK], options.no_timestamps_token_id]
