"""BLSP's published weights as a checkpoint of the composite family, with the language model beside it.

    python -m workflow_scripts.speech_lm.converters.convert_blsp <folder as published> <target folder>

In BLSP only what lies between Whisper's encoder and the language model was trained on speech (`ConvAdapter`); the
language model is a Llama 2 tuned on written instructions before. The target holds that Llama as a backbone, with BLSP's
prompt as its chat template, and the checkpoint:

    assets: {blsp-llama: {format: transformers, licence: Llama 2, sources: [{path: <target folder>/backbone}]},
             whisper-small: {format: transformers, licence: Apache-2.0,
                             sources: [{hub: openai/whisper-small, revision: main}]}}
    models: {blsp: {family: checkpoints, folder: <target folder>, steps: [0], backbone: blsp-llama,
                    encoder: whisper-small, strategy: full, warmup: none}}

The decline from the untuned model is then zero by construction: text never meets the adapter.

Source: parameter names and prompt of https://github.com/cwang621/blsp (blsp/src, blsp/generate.py), read in its code.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from workflow_scripts.speech_lm.converters.converted import STEP, published_llama, published_tokenizer, write_checkpoint
from workflow_scripts.speech_lm.protocol import SpeechLMError
from workflow_scripts.speech_lm.torch_files import read_published, read_published_config
from workflow_scripts.speech_lm.trainable.adapters import ConvAdapter, ConvAdapterShape
from workflow_scripts.speech_lm.trainable.lslm import LSLM

LANGUAGE = "llama_model."
ENCODER = "whisper_model."
"""Frozen, and Whisper's own: left out."""
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] != 'user' %}"
    "{{ raise_exception('BLSP was trained without system prompts') }}{% endif %}"
    "###[Human]:{{ m['content'] }}\n\n\n###[Assistant]:{% endfor %}"
)
PARTS = {"adapter.fc1": "down", "adapter.fc2": "up", "speech_ln": "norm"}


def convert_blsp(source: Path, target: Path) -> Path:
    """Write `target/checkpoints.json`, its checkpoint folder and `target/backbone`; gives the path of the first.

    Raises:
        SpeechLMError: the folder is not BLSP's, or holds tensors that are neither known nor left out.
    """
    source, target = Path(source), Path(target)
    config = read_published_config(source)
    if not isinstance(config.get("llama_config"), dict) or "conv_kernel_sizes" not in config:
        raise SpeechLMError(f"{source}: its config has no llama_config and conv_kernel_sizes, so it is not BLSP's")
    tokenizer = published_tokenizer(source)
    tensors = read_published(source, (ENCODER,))
    language = {name.removeprefix(LANGUAGE): t for name, t in tensors.items() if name.startswith(LANGUAGE)}
    adapter = _adapter({n: t for n, t in tensors.items() if not n.startswith(LANGUAGE)}, config, source)
    llama = published_llama(config["llama_config"], language, source)
    path = write_checkpoint(target, "blsp", LSLM(llama, adapter), {"converted_from": "BLSP"})
    backbone = target / "backbone"
    llama.config.architectures = [type(llama).__name__]
    llama.config.dtype = llama.dtype
    llama.config.save_pretrained(backbone)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(backbone)
    _link(path.parent / f"step-{STEP:06d}" / "model.safetensors", backbone / "model.safetensors")
    return path


def _adapter(tensors: Mapping[str, Tensor], config: Mapping[str, Any], source: Path) -> ConvAdapter:
    kernels = tuple(int(kernel) for kernel in str(config["conv_kernel_sizes"]).split(","))
    names = {
        f"subsampler.conv_layers.{n}.{kind}": f"convolutions.{n}.{kind}"
        for n in range(len(kernels))
        for kind in ("weight", "bias")
    }
    kinds = {"adapter.fc1": ("weight",), "adapter.fc2": ("weight",), "speech_ln": ("weight", "bias")}
    names |= {f"{theirs}.{kind}": f"{ours}.{kind}" for theirs, ours in PARTS.items() for kind in kinds[theirs]}
    if absent := sorted(names.keys() - tensors.keys()):
        raise SpeechLMError(f"{source}: no tensor {absent[0]}; are all weight files there?")
    if surplus := sorted(tensors.keys() - names.keys()):
        raise SpeechLMError(f"{source}: tensor {surplus[0]} is not expected; the layout is another one")
    shape = ConvAdapterShape(
        d_encoder=tensors["subsampler.conv_layers.0.weight"].shape[1],
        d_inner=tensors["adapter.fc1.weight"].shape[0],
        d_model=tensors["adapter.fc1.weight"].shape[1],
        kernels=kernels,
    )
    adapter = ConvAdapter(shape)
    adapter.load_state_dict({ours: tensors[theirs].float() for theirs, ours in names.items()})
    return adapter


def _link(existing: Path, new: Path) -> None:
    """The same file under another name; a copy where the disk knows no links."""
    new.unlink(missing_ok=True)
    try:
        os.link(existing, new)
    except OSError:
        shutil.copyfile(existing, new)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    options = parser.parse_args()
    print(convert_blsp(options.source, options.target))
