"""LLaMA-Omni's published weights as a checkpoint of the composite family.

    python -m workflow_scripts.speech_lm.converters.convert_llama_omni <folder as published> <target folder>

Its parts are ours in all but name: Whisper's encoder, five stacked frames through Linear - ReLU - Linear, and a Llama.
The target is what `family: checkpoints` takes, with the untuned Llama as `backbone` and Whisper as `encoder`:

    llama-omni: {family: checkpoints, folder: <target folder>, steps: [0], backbone: llama-3.1-8b-instruct,
                 encoder: whisper-large-v3, strategy: full, warmup: none}

Differences that remain: the original fills every clip up to 30 s and lets the model read the silence (300 positions);
here the model reads the real audio only. It also puts an instruction behind the audio in the user's turn; here the
audio stands alone. The speech decoder is left out: answers are text.

Source: parameter names of https://github.com/ictnlp/LLaMA-Omni (omni_speech/model), read in its code.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from workflow_scripts.speech_lm.converters.converted import published_llama, write_checkpoint
from workflow_scripts.speech_lm.protocol import SpeechLMError
from workflow_scripts.speech_lm.torch_files import read_published, read_published_config
from workflow_scripts.speech_lm.trainable.adapters import AdapterShape, SpeechAdapter
from workflow_scripts.speech_lm.trainable.lslm import LSLM

PROJECTOR = "model.speech_projector."
PARTS = {"linear1": "down", "linear2": "up"}
LEFT_OUT = ("model.speech_encoder.", "speech_generator.", "model.speech_generator.")
"""The frozen encoder is Whisper's own; units and vocoder are not needed for written answers."""


def convert_llama_omni(source: Path, target: Path) -> Path:
    """Write `target/checkpoints.json` and one checkpoint folder; gives the path of the first.

    Raises:
        SpeechLMError: the folder is not LLaMA-Omni's, or holds tensors that are neither known nor left out.
    """
    source, target = Path(source), Path(target)
    config = read_published_config(source)
    if not str(config.get("model_type", "")).startswith("omni_speech"):
        raise SpeechLMError(
            f"{source}: model_type {config.get('model_type')!r} is not LLaMA-Omni's (omni_speech_llama, "
            "omni_speech2s_llama)"
        )
    tensors = read_published(source, LEFT_OUT)
    adapter = _adapter(tensors, config, source)
    language = {name: tensor for name, tensor in tensors.items() if not name.startswith(PROJECTOR)}
    llama = published_llama(config, language, source)
    facts = {"converted_from": "LLaMA-Omni", "model_type": config["model_type"]}
    return write_checkpoint(target, "llama-omni", LSLM(llama, adapter), facts)


def _adapter(tensors: Mapping[str, Tensor], config: Mapping[str, Any], source: Path) -> SpeechAdapter:
    names = {f"{PROJECTOR}{theirs}.{kind}" for theirs in PARTS for kind in ("weight", "bias")}
    if absent := sorted(names - tensors.keys()):
        raise SpeechLMError(f"{source}: no tensor {absent[0]}; is the speech projector in these files?")
    first, second = (tensors[f"{PROJECTOR}{theirs}.weight"] for theirs in PARTS)
    stack = int(config.get("speech_encoder_ds_rate", 5))
    shape = AdapterShape(
        d_encoder=first.shape[1] // stack, d_hidden=first.shape[0], d_model=second.shape[0], stack=stack
    )
    adapter = SpeechAdapter(shape)
    adapter.load_state_dict(
        {
            f"{ours}.{kind}": tensors[f"{PROJECTOR}{theirs}.{kind}"].float()
            for theirs, ours in PARTS.items()
            for kind in ("weight", "bias")
        }
    )
    return adapter


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    options = parser.parse_args()
    print(convert_llama_omni(options.source, options.target))
