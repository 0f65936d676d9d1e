"""What converters of published models share: a Llama out of foreign files, and the folders they write."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from workflow_scripts.artifacts.checkpoints import CheckpointEntry, CheckpointIndex, checkpoint_name
from workflow_scripts.artifacts.provenance import provenance
from workflow_scripts.speech_lm.protocol import SpeechLMError
from workflow_scripts.speech_lm.torch_files import fill
from workflow_scripts.speech_lm.trainable.checkpoint import save_lslm
from workflow_scripts.speech_lm.trainable.lslm import LSLM
from workflow_scripts.speech_lm.transformers_folder import load_tokenizer

STEP = 0


def published_llama(config: Mapping[str, Any], tensors: Mapping[str, Tensor], source: Path) -> LlamaForCausalLM:
    """A Llama with these tensors; keys of `config` that are not a Llama's are left out.

    Raises:
        SpeechLMError: tensors and config do not fit; names `source`.
    """
    known = {key: value for key, value in config.items() if key in LlamaConfig().to_dict() and key != "model_type"}
    if "rope_theta" in config:
        known["rope_theta"] = config["rope_theta"]
    if config.get("rope_scaling"):
        known["rope_scaling"] = config["rope_scaling"]
    with torch.device("meta"):
        llama = LlamaForCausalLM(LlamaConfig(**known))
    fill(llama, {name: t for name, t in tensors.items() if not name.endswith("rotary_emb.inv_freq")}, source)
    return llama.eval()


def write_checkpoint(target: Path, name: str, lslm: LSLM, facts: Mapping[str, Any]) -> Path:
    """Write `target/checkpoints.json` with the one checkpoint `step-000000`; gives the path of the first."""
    folder = Path(target) / checkpoint_name(STEP)
    save_lslm(folder, lslm, step=STEP, seed=0, facts=facts)
    entry = CheckpointEntry.of(folder, STEP)
    path = Path(target) / "checkpoints.json"
    CheckpointIndex(schema="checkpoints/1", model=name, checkpoints=[entry], provenance=provenance(**facts)).write(path)
    return path


def published_tokenizer(source: Path) -> Any:
    """The folder's tokenizer with character offsets.

    Raises:
        SpeechLMError: it cannot be built here; names the remedy.
    """
    try:
        tokenizer = load_tokenizer(source)
    except Exception as error:
        # transformers raises ImportError, OSError, ValueError and more for missing parts.
        raise SpeechLMError(
            f"{source}: its tokenizer cannot be loaded ({' '.join(str(error).split())[:200]}); put the tokenizer.json "
            "of its base model beside it, or install sentencepiece"
        ) from error
    if not tokenizer.is_fast:
        raise SpeechLMError(f"{source}: its tokenizer gives no character offsets; convert it to a tokenizer.json")
    return tokenizer
