"""GGUF: a random tiny Llama, written with the format's own library, comes back as the same model."""

import gguf
import pytest
import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from workflow_scripts.assets.convert_asset import convert_asset
from workflow_scripts.assets.errors import AssetError
from workflow_scripts.assets.fetch_asset import fetch_asset
from workflow_scripts.settings.assets import AssetSettings

TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
D, HEADS, KV_HEADS, LAYERS, FFN = 64, 4, 2, 2, 96
TOKENS = [*sorted(ByteLevel.alphabet()), "ab", "<|endoftext|>"]
NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def interleaved(weight, heads):
    """Rows of a query or key projection in GGUF's order: both halves of each head's rotation interleaved."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


@pytest.fixture(scope="module")
def llama():
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=D, intermediate_size=FFN, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS, vocab_size=len(TOKENS), max_position_embeddings=128, rms_norm_eps=1e-5,
        tie_word_embeddings=True, rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        bos_token_id=257, eos_token_id=257,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    for parameter in model.parameters():
        # Exact in bfloat16, the type of the converted model.
        parameter.data = (torch.randn_like(parameter) * 0.2).bfloat16().float()
    return model


@pytest.fixture
def written(tmp_path, llama):
    path = tmp_path / "original" / "tiny.gguf"
    path.parent.mkdir()
    out = gguf.GGUFWriter(path, "llama")
    out.add_context_length(128)
    out.add_embedding_length(D)
    out.add_block_count(LAYERS)
    out.add_feed_forward_length(FFN)
    out.add_head_count(HEADS)
    out.add_head_count_kv(KV_HEADS)
    out.add_rope_dimension_count(D // HEADS)
    out.add_rope_freq_base(10000.0)
    out.add_layer_norm_rms_eps(1e-5)
    out.add_vocab_size(len(TOKENS))
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("gpt-2")
    out.add_token_list(TOKENS)
    out.add_token_types([gguf.TokenType.NORMAL] * 257 + [gguf.TokenType.CONTROL])
    out.add_token_merges(["a b"])
    out.add_bos_token_id(257)
    out.add_eos_token_id(257)
    out.add_chat_template(TEMPLATE)
    state = {name: tensor.numpy() for name, tensor in llama.state_dict().items()}
    out.add_tensor("token_embd.weight", state["model.embed_tokens.weight"])
    out.add_tensor("output_norm.weight", state["model.norm.weight"])
    for layer in range(LAYERS):
        for theirs, ours in NAMES.items():
            weight = state[f"model.layers.{layer}.{theirs}.weight"]
            if ours in ("attn_q", "attn_k"):
                weight = interleaved(weight, HEADS if ours == "attn_q" else KV_HEADS)
            out.add_tensor(f"blk.{layer}.{ours}.weight", weight)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return path


def settings(path):
    values = {"format": "gguf", "licence": "MIT", "sources": [{"path": str(path)}]}
    return AssetSettings.model_validate(values)


def obtain(source, target):
    fetch_asset("asset", settings(source), target.parent / "originals" / "asset")
    return convert_asset(target.parent / "originals" / "asset" / "asset.json", target)


def test_converted_model_and_tokenizer_are_the_original_ones(tmp_path, llama, written):
    target = tmp_path / "asset"
    record = obtain(written, target)
    model = AutoModelForCausalLM.from_pretrained(target, dtype=torch.float32).eval()
    tokens = torch.randint(0, len(TOKENS), (2, 9), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(model(tokens).logits, llama(tokens).logits, rtol=1e-5, atol=1e-5)
    tokenizer = AutoTokenizer.from_pretrained(target)
    assert tokenizer.decode(tokenizer("ab cab").input_ids) == "ab cab"
    assert tokenizer.tokenize("ab") == ["ab"]
    assert tokenizer.chat_template == TEMPLATE
    assert (record.model_type, record.vocab_size, record.tokenizer_size) == ("llama", 258, 258)
    assert (record.has_chat_template, record.dtypes) == (True, ["BF16"])
    assert record.n_parameters == sum(parameter.numel() for parameter in llama.parameters())
    assert list(record.originals) == ["tiny.gguf"]
    assert not list(target.rglob("*.gguf")) and written.exists()


def test_two_model_files_or_none_are_refused(tmp_path, written):
    (written.parent / "second.gguf").write_bytes(written.read_bytes())
    with pytest.raises(AssetError, match=r"one \.gguf file, it holds \['second\.gguf', 'tiny\.gguf'\]"):
        obtain(written.parent, tmp_path / "asset")


def test_file_that_is_no_gguf_is_named(tmp_path):
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"not a model at all" * 10)
    with pytest.raises(AssetError, match=r"broken\.gguf cannot be read as a GGUF model"):
        obtain(path, tmp_path / "asset")


def test_file_that_lacks_a_tensor_is_refused(tmp_path, written, llama):
    data = written.read_bytes()
    name = b"blk.1.ffn_up.weight"
    assert data.count(name) == 1
    written.write_bytes(data.replace(name, b"blk.1.ffn_xx.weight"))
    with pytest.raises(AssetError, match=r"missing \['model\.layers\.1\.mlp\.up_proj\.weight'\]"):
        obtain(written, tmp_path / "asset")
