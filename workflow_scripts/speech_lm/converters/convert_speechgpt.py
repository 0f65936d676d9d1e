"""SpeechGPT's published language model in safetensors, its LoRA merged, as weights of the units family.

    python -m workflow_scripts.speech_lm.converters.convert_speechgpt <SpeechGPT-7B-cm> <target folder> \
        [--lora <SpeechGPT-7B-com>]

The quantizer is converted apart (`convert_hubert_units`); studies/public_models.yaml has the entry that names both. The
paper's spoken dialogues are of SpeechGPT-7B-com, which is a LoRA on SpeechGPT-7B-cm.

Source: https://github.com/0nutation/SpeechGPT (speechgpt/src/infer), read in its code.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from peft import PeftModel

from workflow_scripts.speech_lm.converters.converted import published_llama, published_tokenizer
from workflow_scripts.speech_lm.protocol import SpeechLMError
from workflow_scripts.speech_lm.torch_files import read_published, read_published_config

UNITS = 1000
MARKS = ("<sosp>", "<eosp>")


def convert_speechgpt(source: Path, target: Path, *, lora: Path | None = None) -> Path:
    """Write the language model and its tokenizer to `target`.

    Args:
        lora: folder of the LoRA, merged in float32 and stored as the weights are.

    Raises:
        SpeechLMError: the folder is no Llama with unit tokens, or the LoRA does not fit it.
    """
    source, target = Path(source), Path(target)
    config = read_published_config(source)
    if config.get("model_type") != "llama":
        raise SpeechLMError(f"{source}: model_type {config.get('model_type')!r} is not SpeechGPT's (llama)")
    tokenizer = published_tokenizer(source)
    vocabulary = tokenizer.get_vocab()
    wanted = [*MARKS, *(f"<{number}>" for number in range(UNITS))]
    if absent := [token for token in wanted if token not in vocabulary]:
        raise SpeechLMError(f"{source}: its tokenizer has no token {absent[0]!r}; is added_tokens.json there?")
    llama = published_llama(config, read_published(source), source)
    rows = llama.get_input_embeddings().weight.shape[0]
    if beyond := [token for token in wanted if vocabulary[token] >= rows]:
        raise SpeechLMError(f"{source}: token {beyond[0]!r} is number {vocabulary[beyond[0]]}, the model has {rows}")
    if lora is not None:
        stored = llama.dtype
        try:
            merged = PeftModel.from_pretrained(llama.to(torch.float32), str(lora))
        except (RuntimeError, ValueError, OSError) as error:
            raise SpeechLMError(f"{lora}: no LoRA of this model ({' '.join(str(error).split())[:300]})") from error
        llama = merged.merge_and_unload(safe_merge=True).to(stored)
    llama.config.architectures = [type(llama).__name__]
    llama.save_pretrained(target)
    tokenizer.save_pretrained(target)
    return target


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--lora", type=Path)
    options = parser.parse_args()
    print(convert_speechgpt(options.source, options.target, lora=options.lora))
