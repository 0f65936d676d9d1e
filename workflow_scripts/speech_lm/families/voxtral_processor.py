"""Voxtral's processor from its published files, without mistral-common.

transformers' own takes audio only inside a chat and gives no character offsets. What it does is little: a fast
tokenizer out of tekken.json, one user turn, `[INST][BEGIN_AUDIO][AUDIO] x 375[/INST]`, and log-mels of the audio filled
up to windows of 30 s, of which eight frames become one position. The silence behind a clip is heard by the model, as in
the original; it is not counted as speech (`architectures.ALWAYS_PADDED`).

Source: https://github.com/mistralai/mistral-common (tokens/tokenizers/tekken.py, audio.py), VoxtralProcessor.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast, WhisperFeatureExtractor

from workflow_scripts.speech_lm.converters.tiktoken_file import tokenizer_of_ranks
from workflow_scripts.speech_lm.protocol import SpeechLMError

TEKKEN = "tekken.json"
AUDIO, BEGIN = "[AUDIO]", "[BEGIN_AUDIO]"
FRAMES_PER_POSITION = 8
TEMPLATE = (
    "<s>{% for m in messages %}{% if m['role'] == 'system' %}[SYSTEM_PROMPT]{% else %}[INST]{% endif %}"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for part in m['content'] %}"
    "{% if part['type'] == 'audio' %}[BEGIN_AUDIO][AUDIO]{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{% if m['role'] == 'system' %}[/SYSTEM_PROMPT]{% else %}[/INST]{% endif %}{% endfor %}"
)


class VoxtralFiles:
    """Called like a processor of transformers, for one clip at a time.

    Args:
        log_mel: the folder's feature extractor. tokenizer: see `tekken_tokenizer`.
    """

    audio_token = AUDIO

    def __init__(self, log_mel: WhisperFeatureExtractor, tokenizer: PreTrainedTokenizerFast) -> None:
        self.feature_extractor, self.tokenizer = log_mel, tokenizer
        self.chat_template = tokenizer.chat_template = TEMPLATE

    @classmethod
    def from_folder(cls, folder: Path) -> VoxtralFiles:
        """Raises SpeechLMError if tekken.json is of another form or has no audio tokens."""
        log_mel = WhisperFeatureExtractor.from_pretrained(folder, local_files_only=True)
        return cls(log_mel, tekken_tokenizer(Path(folder) / TEKKEN))

    def apply_chat_template(self, messages: Any, **options: Any) -> str:
        """The prompt as text, with one placeholder for the audio."""
        return self.tokenizer.apply_chat_template(messages, **options)

    def __call__(
        self,
        text: Sequence[str],
        audio: Sequence[np.ndarray] | None = None,
        *,
        sampling_rate: int = 16_000,
        return_tensors: str = "pt",
        add_special_tokens: bool = False,
    ) -> dict[str, torch.Tensor]:
        """`input_ids`, `attention_mask` and, with audio, `input_features` (windows, bins, frames)."""
        (prompt,) = text
        found: dict[str, torch.Tensor] = {}
        if audio is not None:
            (waveform,) = audio
            mel = self.feature_extractor(
                waveform,
                sampling_rate=sampling_rate,
                padding=True,
                truncation=False,
                pad_to_multiple_of=self.feature_extractor.n_samples,
                return_tensors=return_tensors,
            )["input_features"][0]
            window = self.feature_extractor.nb_max_frames
            windows = mel.shape[1] // window
            found["input_features"] = mel.reshape(len(mel), windows, window).transpose(0, 1).contiguous()
            prompt = prompt.replace(AUDIO, AUDIO * (windows * math.ceil(window / FRAMES_PER_POSITION)))
        ids = self.tokenizer(prompt, add_special_tokens=add_special_tokens)["input_ids"]
        found["input_ids"] = torch.tensor([ids])
        return found | {"attention_mask": torch.ones_like(found["input_ids"])}


def tekken_tokenizer(path: Path) -> PreTrainedTokenizerFast:
    """A fast tokenizer out of tekken.json: special tokens first, then byte sequences in order of rank.

    Raises:
        SpeechLMError: the file is of another form, or its tokenizer knows no audio.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        config = content["config"]
        n_special, size = config["default_num_special_tokens"], config["default_vocab_size"]
        ranks = {base64.b64decode(one["token_bytes"]): one["rank"] for one in content["vocab"]}
        special = {int(one["rank"]): str(one["token_str"]) for one in content["special_tokens"]}
        split = config["pattern"]
    except (OSError, json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise SpeechLMError(f"{path} is no tokenizer file of Mistral ({type(error).__name__}: {error})") from error
    if absent := sorted({AUDIO, BEGIN} - set(special.values())):
        raise SpeechLMError(f"{path}: no special token {absent[0]}; it is not Voxtral's tokenizer")
    added = {number: special.get(number, f"<SPECIAL_{number}>") for number in range(n_special)}
    kept = {token: rank for token, rank in ranks.items() if rank < size - n_special}
    tokenizer = tokenizer_of_ranks(kept, added, split, first=n_special, source=path)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        clean_up_tokenization_spaces=False,
    )
