"""SpeechGPT's layout, random weights and LoRA: converted, opened as a units model, compared with a pass by hand."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.speech_lm.converters.by_hand import Sizes, assert_computes, llama, llama_config, llama_weights
from tests.speech_lm.tiny_processor import make_tokenizer
from workflow_scripts.speech_lm.converters import convert_speechgpt as module
from workflow_scripts.speech_lm.converters.convert_speechgpt import convert_speechgpt
from workflow_scripts.speech_lm.families.units import UnitsSpeechLM
from workflow_scripts.speech_lm.protocol import Speech, SpeechLMError
from workflow_scripts.speech_lm.trainable.checkpoint import load_backbone

UNITS, RANK, ALPHA = 30, 4, 8
SIZES = Sizes(vocabulary=340, theta=50_000.0)
PROMPT = "[Human]: {query} <eoh>. [SpeechGPT]: "


@pytest.fixture(autouse=True)
def fewer_units(monkeypatch):
    monkeypatch.setattr(module, "UNITS", UNITS)


@pytest.fixture
def published(tmp_path):
    folder = tmp_path / "cm"
    folder.mkdir()
    torch.save(llama_weights(SIZES), folder / "pytorch_model.bin")
    (folder / "config.json").write_text(json.dumps(llama_config(SIZES) | {"model_type": "llama"}))
    tokenizer = make_tokenizer(template=None)
    tokenizer.add_tokens([*(f"<{number}>" for number in range(UNITS)), "<sosp>", "<eosp>"], special_tokens=True)
    tokenizer.save_pretrained(folder)
    return folder


def lora_weights():
    generator = torch.Generator().manual_seed(8)
    return {
        f"model.layers.{layer}.self_attn.{name}": (
            torch.randn(RANK, SIZES.width, generator=generator),
            torch.randn(SIZES.width if name == "q_proj" else SIZES.key_heads * SIZES.head, RANK, generator=generator),
        )
        for layer in range(SIZES.layers)
        for name in ("q_proj", "v_proj")
    }


@pytest.fixture
def lora(tmp_path):
    folder = tmp_path / "com"
    folder.mkdir()
    tensors = {}
    for name, (down, up) in lora_weights().items():
        at = f"base_model.model.{name}"
        tensors |= {f"{at}.lora_A.weight": down, f"{at}.lora_B.weight": up}
    save_file(tensors, folder / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": ALPHA, "bias": "none"}
    settings |= {"target_modules": ["q_proj", "v_proj"], "inference_mode": True, "lora_dropout": 0.05}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return folder


class FixedUnits:
    """A quantizer that hears the same units in every clip."""

    rate = 50.0

    def __call__(self, waveform: np.ndarray) -> np.ndarray:
        return np.array([3, 3, 3, 7, 29, 29, 3])


@pytest.mark.parametrize("merged", [False, True])
def test_the_converted_model_computes_what_the_published_weights_say(published, lora, tmp_path, merged):
    target = convert_speechgpt(published, tmp_path / "converted", lora=lora if merged else None)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(target)
    lm = UnitsSpeechLM(
        load_backbone(target).requires_grad_(False),
        tokenizer,
        FixedUnits(),
        unit_token="<{}>",
        begin="<sosp>",
        end="<eosp>",
        prompt=PROMPT,
    )
    w = llama_weights(SIZES)
    if merged:
        for name, (down, up) in lora_weights().items():
            w[f"{name}.weight"] = w[f"{name}.weight"] + ALPHA / RANK * up @ down
    query = lm.encode_speech(Speech(np.zeros(1600, dtype=np.float32), 16_000, 0.1, None))
    before, after = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in PROMPT.split("{query}"))
    units = tokenizer.convert_tokens_to_ids(["<sosp>", "<3>", "<7>", "<29>", "<3>", "<eosp>"])
    assert query.tokens == ("0.00s", "0.06s", "0.08s", "0.12s"), "repeats are one token, named by its start"
    states, logits = llama(w, w["model.embed_tokens.weight"][[*before, *units, *after]], SIZES)
    assert_computes(lm, query, states, logits)


def test_other_folders_and_missing_parts_are_named(published, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "UNITS", UNITS + 1)
    with pytest.raises(SpeechLMError, match=f"no token '<{UNITS}>'"):
        convert_speechgpt(published, tmp_path / "converted")
    monkeypatch.setattr(module, "UNITS", UNITS)
    with pytest.raises(SpeechLMError, match="no LoRA of this model"):
        convert_speechgpt(published, tmp_path / "converted", lora=published)
    (published / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(SpeechLMError, match="'gpt2' is not SpeechGPT's"):
        convert_speechgpt(published, tmp_path / "converted")
    assert not (tmp_path / "converted").exists()
