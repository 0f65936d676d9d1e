"""LLaMA-Omni's layout, random weights: converted, loaded like any checkpoint, compared with a forward pass by hand."""

import json

import pytest
import torch
from safetensors.torch import save_file
from torch.nn.functional import linear, relu

from tests.speech_lm.converters.by_hand import Sizes, assert_computes, llama, llama_config, llama_weights
from tests.speech_lm.tiny_processor import make_tokenizer
from workflow_scripts.artifacts.checkpoints import CheckpointIndex
from workflow_scripts.speech_lm.converters.convert_llama_omni import convert_llama_omni
from workflow_scripts.speech_lm.families.composite import load_composite
from workflow_scripts.speech_lm.protocol import Speech, SpeechLMError

SIZES, D_ENCODER = Sizes(theta=50_000.0), 16
CONFIG = llama_config(SIZES) | {
    "model_type": "omni_speech2s_llama",
    "architectures": ["OmniSpeech2SLlamaForCausalLM"],
    "speech_encoder_ds_rate": 5,
    "speech_encoder_hidden_size": D_ENCODER,
    "speech_projector_type": "linear",
}


def published_weights():
    """Random tensors by the names of the original."""
    torch.manual_seed(5)
    shapes = {
        "model.speech_projector.linear1.weight": (24, 5 * D_ENCODER),
        "model.speech_projector.linear1.bias": (24,),
        "model.speech_projector.linear2.weight": (SIZES.width, 24),
        "model.speech_projector.linear2.bias": (SIZES.width,),
        "model.speech_encoder.conv1.weight": (4, 4),
        "speech_generator.output_proj.weight": (4, 4),
    }
    return llama_weights(SIZES) | {name: 0.3 * torch.randn(shape) for name, shape in shapes.items()}


@pytest.fixture
def published(tmp_path):
    folder = tmp_path / "published"
    folder.mkdir()
    tensors = published_weights()
    names = sorted(tensors)
    save_file({name: tensors[name] for name in names[::2]}, folder / "model-00001-of-00002.safetensors")
    save_file({name: tensors[name] for name in names[1::2]}, folder / "model-00002-of-00002.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return folder


def test_the_converted_model_computes_what_the_published_weights_say(published, tmp_path):
    index = convert_llama_omni(published, tmp_path / "converted")
    assert [entry.name for entry in CheckpointIndex.read(index).checkpoints] == ["step-000000"]
    backbone = tmp_path / "backbone"  # the untuned Llama: other weights, the same shape
    torch.manual_seed(9)
    import transformers

    options = {key: value for key, value in CONFIG.items() if not key.startswith(("speech", "model_type", "arch"))}
    transformers.LlamaForCausalLM(transformers.LlamaConfig(**options)).save_pretrained(backbone)
    plain = "{% for m in messages %}<|im_start|>{{ m['content'] }}<|im_end|>\n{% endfor %}<|im_start|>"
    make_tokenizer(template=plain).save_pretrained(backbone)
    folder = CheckpointIndex.read(index).folder(index, "step-000000")
    lm = load_composite(backbone=backbone, checkpoint=folder, encoder=None, device="cpu", dtype="float32")

    w, frames = published_weights(), torch.randn(40, D_ENCODER, generator=torch.Generator().manual_seed(2))
    query = lm.encode_speech(Speech(None, 16_000, 0.8, frames))
    at = "model.speech_projector"
    hidden = relu(linear(frames.view(8, -1), w[f"{at}.linear1.weight"], w[f"{at}.linear1.bias"]))
    spoken = linear(hidden, w[f"{at}.linear2.weight"], w[f"{at}.linear2.bias"])
    before, after = (w["model.embed_tokens.weight"][list(ids)] for ids in lm.template.ids)
    states, logits = llama(w, torch.cat([before, spoken, after]), SIZES)
    assert_computes(lm, query, states, logits)
    loss = lm.answer_loss([query], ["a"])[0]
    token = lm.tokenizer("a", add_special_tokens=False)["input_ids"][0]
    assert loss.nll == pytest.approx(-float(torch.log_softmax(logits[-1].double(), -1)[token]), rel=1e-4)


def test_other_folders_and_missing_parts_are_named(published, tmp_path):
    config = json.loads((published / "config.json").read_text())
    (published / "config.json").write_text(json.dumps(config | {"model_type": "llama"}))
    with pytest.raises(SpeechLMError, match="model_type 'llama' is not LLaMA-Omni's"):
        convert_llama_omni(published, tmp_path / "converted")
    (published / "config.json").write_text(json.dumps(config))
    (published / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(SpeechLMError, match=r"no tensor model\.speech_projector|missing \["):
        convert_llama_omni(published, tmp_path / "converted")
    assert not (tmp_path / "converted" / "checkpoints.json").exists()
