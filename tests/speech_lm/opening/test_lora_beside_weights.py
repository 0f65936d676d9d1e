"""A LoRA beside a published model's weights: every tensor in its place, or refused by name."""

import json

import pytest
import torch
import transformers as hf
from peft import LoraConfig
from safetensors.torch import load_file, save_file

from tests.speech_lm.tiny_models import build
from workflow_scripts.speech_lm.protocol import SpeechLMError
from workflow_scripts.speech_lm.transformers_folder import LORA_CONFIG, LORA_WEIGHTS, load_model

RANK, ALPHA, LAYERS = 2, 6, 3
PUBLISHED, TODAY = "language_model.model.layers", "model.language_model.layers"
FIRST = f"base_model.model.{PUBLISHED}.0.self_attn.q_proj"


def write_lora(folder, names=PUBLISHED):
    """Random low-rank maps on every q_proj; gives them by layer as (A, B)."""
    folder.mkdir(parents=True, exist_ok=True)
    LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=[r"q_proj"]).save_pretrained(folder)
    maps = [(torch.randn(RANK, 32), torch.randn(32, RANK)) for _ in range(LAYERS)]
    tensors = {}
    for layer, pair in enumerate(maps):
        for letter, weight in zip("AB", pair):
            tensors[f"base_model.model.{names}.{layer}.self_attn.q_proj.lora_{letter}.weight"] = weight
    save_file(tensors, folder / LORA_WEIGHTS, metadata={"format": "pt"})
    return maps


def rewrite(path, change):
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


@pytest.fixture
def folder(tmp_path):
    build("granite_speech").model.save_pretrained(tmp_path)
    return tmp_path


def load(folder, **options):
    kind = hf.GraniteSpeechForConditionalGeneration
    return load_model(kind, folder, name="tiny", dtype=torch.float32, **options).eval()


@pytest.mark.parametrize("names", [PUBLISHED, TODAY])
@pytest.mark.parametrize("subfolder", [None, "speech-lora"])
def test_a_lora_acts_as_if_it_were_added_to_the_weights(folder, names, subfolder):
    plain = load(folder)
    maps = write_lora(folder / (subfolder or ""), names)
    loaded = load(folder, lora_subfolder=subfolder)
    ids = torch.arange(5, 12)[None]
    with torch.no_grad():
        without = plain(input_ids=ids).logits
        for layer, (down, up) in zip(plain.model.language_model.layers, maps):
            layer.self_attn.q_proj.weight += ALPHA / RANK * up @ down
        torch.testing.assert_close(loaded(input_ids=ids).logits, plain(input_ids=ids).logits)
        assert not torch.allclose(loaded(input_ids=ids).logits, without, atol=1e-2)


def test_a_tensor_that_the_model_lacks_is_named_where_a_lora_lies_beside_it_too(folder):
    write_lora(folder)
    rewrite(folder / "model.safetensors", lambda all: {name: all[name] for name in all if "norm.weight" not in name})
    with pytest.raises(SpeechLMError, match=r"tiny: .* has no tensor .*norm\.weight of GraniteSpeech"):
        load(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda all: {name: all[name] for name in all if "layers.2" not in name}, "has no tensor .*layers.2.*lora_A"),
        (lambda all: all | {FIRST.replace(".0.", ".9.") + ".lora_A.weight": torch.ones(2, 32)}, "layers.9.* without a"),
        (lambda all: all | {f"{FIRST}.lora_A.weight": torch.ones(3, 32)}, r"layers.0.*shape \(3, 32\), not \(2, 32\)"),
    ],
    ids=["missing", "left over", "other shape"],
)
def test_a_tensor_of_a_lora_without_its_place_is_named(folder, change, said):
    write_lora(folder)
    rewrite(folder / LORA_WEIGHTS, change)
    with pytest.raises(SpeechLMError, match=rf"tiny: .*{LORA_WEIGHTS} .*{said}"):
        load(folder)


def test_damaged_files_of_a_lora_are_named(folder):
    write_lora(folder)
    whole = (folder / LORA_WEIGHTS).read_bytes()
    (folder / LORA_WEIGHTS).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SpeechLMError, match=rf"{LORA_WEIGHTS} cannot be read"):
        load(folder)
    (folder / LORA_CONFIG).write_text(json.dumps({"peft_type": "IA3"}))
    with pytest.raises(SpeechLMError, match=rf"{LORA_CONFIG} has peft_type 'IA3'"):
        load(folder)
