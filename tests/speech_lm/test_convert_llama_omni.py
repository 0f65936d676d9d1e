"""LLaMA-Omni's layout, random weights: converted, loaded like any checkpoint, compared with a forward pass by hand."""

import json

import pytest
import torch
from safetensors.torch import save_file
from torch.nn.functional import linear, relu, scaled_dot_product_attention, silu

from tests.speech_lm.tiny_processor import make_tokenizer
from workflow_scripts.artifacts.checkpoints import CheckpointIndex
from workflow_scripts.speech_lm.convert_llama_omni import convert_llama_omni
from workflow_scripts.speech_lm.loading import load_speech_lm
from workflow_scripts.speech_lm.protocol import Speech, SpeechLMError

WIDTH, HEADS, KEY_HEADS, LAYERS, INNER, VOCABULARY, D_ENCODER, THETA, EPS = 32, 4, 2, 2, 48, 320, 16, 10_000.0, 1e-5
CONFIG = {
    "model_type": "omni_speech2s_llama",
    "architectures": ["OmniSpeech2SLlamaForCausalLM"],
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "intermediate_size": INNER,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KEY_HEADS,
    "max_position_embeddings": 256,
    "rms_norm_eps": EPS,
    "rope_theta": THETA,
    "tie_word_embeddings": False,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
    "speech_encoder_ds_rate": 5,
    "speech_encoder_hidden_size": D_ENCODER,
    "speech_projector_type": "linear",
}


def published_weights():
    """Random tensors by the names of the original."""
    torch.manual_seed(5)
    head = WIDTH // HEADS
    shapes = {"model.embed_tokens.weight": (VOCABULARY, WIDTH), "lm_head.weight": (VOCABULARY, WIDTH)}
    for layer in range(LAYERS):
        at = f"model.layers.{layer}"
        shapes |= {
            f"{at}.self_attn.q_proj.weight": (WIDTH, WIDTH),
            f"{at}.self_attn.k_proj.weight": (KEY_HEADS * head, WIDTH),
            f"{at}.self_attn.v_proj.weight": (KEY_HEADS * head, WIDTH),
            f"{at}.self_attn.o_proj.weight": (WIDTH, WIDTH),
            f"{at}.mlp.gate_proj.weight": (INNER, WIDTH),
            f"{at}.mlp.up_proj.weight": (INNER, WIDTH),
            f"{at}.mlp.down_proj.weight": (WIDTH, INNER),
        }
    shapes |= {
        "model.speech_projector.linear1.weight": (24, 5 * D_ENCODER),
        "model.speech_projector.linear1.bias": (24,),
        "model.speech_projector.linear2.weight": (WIDTH, 24),
        "model.speech_projector.linear2.bias": (WIDTH,),
        "model.speech_encoder.conv1.weight": (4, 4),
        "speech_generator.output_proj.weight": (4, 4),
    }
    tensors = {name: 0.3 * torch.randn(shape) for name, shape in shapes.items()}
    norms = [
        f"model.layers.{k}.{name}.weight"
        for k in range(LAYERS)
        for name in ("input_layernorm", "post_attention_layernorm")
    ]
    return tensors | {name: 1 + 0.1 * torch.randn(WIDTH) for name in (*norms, "model.norm.weight")}


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


def norm(x, weight):
    return weight * x * (x.pow(2).mean(dim=-1, keepdim=True) + EPS).rsqrt()


def rotate(x):
    """Rotary embedding of (heads, T, head): halves of each head are the two coordinates."""
    half = x.shape[-1] // 2
    angles = torch.arange(x.shape[1])[:, None] / THETA ** (torch.arange(half) / half)
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * angles.cos() - second * angles.sin(), second * angles.cos() + first * angles.sin()], -1)


def llama_by_hand(w, x):
    """(T, d) embeddings -> layer inputs and the last output, logits; no transformers in it."""
    states = [x]
    for layer in range(LAYERS):
        at = f"model.layers.{layer}"
        h = norm(x, w[f"{at}.input_layernorm.weight"])
        q, k, v = (linear(h, w[f"{at}.self_attn.{name}_proj.weight"]) for name in "qkv")
        q, k, v = (part.view(len(x), -1, WIDTH // HEADS).transpose(0, 1) for part in (q, k, v))
        k, v = (part.repeat_interleave(HEADS // KEY_HEADS, dim=0) for part in (rotate(k), v))
        attended = scaled_dot_product_attention(rotate(q), k, v, is_causal=True)
        x = x + linear(attended.transpose(0, 1).reshape(len(x), WIDTH), w[f"{at}.self_attn.o_proj.weight"])
        h = norm(x, w[f"{at}.post_attention_layernorm.weight"])
        gate, up = (linear(h, w[f"{at}.mlp.{name}_proj.weight"]) for name in ("gate", "up"))
        x = x + linear(silu(gate) * up, w[f"{at}.mlp.down_proj.weight"])
        states.append(x)
    return states, linear(norm(x, w["model.norm.weight"]), w["lm_head.weight"])


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
    lm = load_speech_lm(backbone=backbone, checkpoint=folder, encoder=None, device="cpu", dtype="float32")

    w, frames = published_weights(), torch.randn(40, D_ENCODER, generator=torch.Generator().manual_seed(2))
    query = lm.encode_speech(Speech(None, 16_000, 0.8, frames))
    at = "model.speech_projector"
    hidden = relu(linear(frames.view(8, -1), w[f"{at}.linear1.weight"], w[f"{at}.linear1.bias"]))
    spoken = linear(hidden, w[f"{at}.linear2.weight"], w[f"{at}.linear2.bias"])
    before, after = (w["model.embed_tokens.weight"][list(ids)] for ids in lm.template.ids)
    states, logits = llama_by_hand(w, torch.cat([before, spoken, after]))

    (found,) = lm.states([query])
    for layer in range(LAYERS + 1):
        torch.testing.assert_close(found[layer], states[layer][slice(*query.span)], rtol=1e-4, atol=1e-4)
    answer = lm.generate([query], max_new_tokens=1, stop_ids=[])[0]
    assert answer.token_ids == (int(logits[-1].argmax()),)
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
