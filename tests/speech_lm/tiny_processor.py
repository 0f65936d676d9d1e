"""A byte-level tokenizer with a chat template, and a processor by hand.

Where a processor needs a package that is not installed (torchvision, torchaudio, mistral-common), `HandProcessor`
stands in for it: same calls, placeholders expanded in the same way, random features instead of spectrograms.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import transformers as hf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

AUDIO_TOKEN = "<|AUDIO|>"
SPECIAL = ("<|im_start|>", "<|im_end|>", AUDIO_TOKEN, "<|audio_bos|>", "<|audio_eos|>", "<|pad|>")
TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}{% if m['content'] is string %}{{ m['content'] }}"
    "{% else %}{% for c in m['content'] %}{% if c['type'] == 'audio' %}<|audio_bos|><|AUDIO|><|audio_eos|>"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
FRAMES_PER_SECOND = 100


def make_tokenizer(special: tuple[str, ...] = SPECIAL, template: str | None = TEMPLATE) -> Any:
    """Byte-level BPE with the template's and the audio's special tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=list(special), initial_alphabet=alphabet)
    tokenizer.train_from_iterator(["what is the water in the river", "the user and the assistant\n"], trainer)
    fast = hf.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|pad|>")
    fast.chat_template = template
    return fast


def audio_id(tokenizer: Any) -> int:
    return tokenizer.convert_tokens_to_ids(AUDIO_TOKEN)


class HandProcessor:
    """Called like a transformers processor; `features(frames)` gives tensors and the number of audio positions."""

    audio_token = AUDIO_TOKEN

    def __init__(self, features: Callable[[int], tuple[dict[str, torch.Tensor], int]], **extra: Any) -> None:
        self.tokenizer = make_tokenizer()
        self.chat_template = self.tokenizer.chat_template
        self.features, self.extra = features, extra

    def apply_chat_template(self, messages, *, add_generation_prompt=True, tokenize=False, **kwargs):
        return self.tokenizer.apply_chat_template(
            messages, add_generation_prompt=add_generation_prompt, tokenize=tokenize, **kwargs
        )

    def __call__(self, text, audio=None, *, sampling_rate=16_000, return_tensors="pt", add_special_tokens=False):
        found: dict[str, torch.Tensor] = {}
        text = text[0] if isinstance(text, list) else text
        if audio is not None:
            wav = audio[0]
            torch.manual_seed(int(1000 * float(np.abs(wav).sum())) % 2**31)
            found, n = self.features(max(1, len(wav) * FRAMES_PER_SECOND // sampling_rate))
            text = text.replace(self.audio_token, self.audio_token * n)
        ids = self.tokenizer(text, add_special_tokens=add_special_tokens)["input_ids"]
        found["input_ids"] = torch.tensor([ids])
        found["attention_mask"] = torch.ones_like(found["input_ids"])
        if self.extra.get("mm_token_type_ids"):
            found["mm_token_type_ids"] = 3 * (found["input_ids"] == audio_id(self.tokenizer)).long()
        return found
