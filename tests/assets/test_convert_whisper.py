"""Whisper from CTranslate2: a random tiny model, written by an independent writer, comes back unchanged."""

import json
import struct

import numpy as np
import pytest
import torch
from tokenizers import AddedToken, Tokenizer, models
from transformers import (
    AutoTokenizer,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)

from workflow_scripts.assets.convert_asset import convert_asset
from workflow_scripts.assets.convert_whisper import convert_whisper
from workflow_scripts.assets.ctranslate2 import read_ctranslate2
from workflow_scripts.assets.errors import AssetError
from workflow_scripts.assets.fetch_asset import fetch_asset
from workflow_scripts.settings.assets import AssetSettings

SPECIAL = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|de|>", "<|translate|>", "<|transcribe|>"]
SPECIAL += ["<|startofprev|>", "<|notimestamps|>"]
WORDS = ["hello", "world", "again"]
HINTS = {"lang_ids": [5, 6], "suppress_ids": [1, 4], "suppress_ids_begin": [2], "alignment_heads": [[1, 0]]}


def string(text):
    raw = text.encode() + b"\0"
    return struct.pack("<H", len(raw)) + raw


def serialise(variables, aliases, specification="WhisperSpec", version=6):
    """The binary format, written from its description and not from the reader."""
    codes = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}
    data = struct.pack("<I", version) + string(specification) + struct.pack("<II", 3, len(variables))
    for name, array in variables.items():
        array = np.asarray(array)
        data += string(name) + struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)
        data += struct.pack("<BI", codes[array.dtype.name], array.nbytes) + array.tobytes()
    data += struct.pack("<I", len(aliases))
    return data + b"".join(string(alias) + string(target) for alias, target in aliases.items())


def ctranslate2_variables(whisper, dtype):
    """A Whisper model's tensors under CTranslate2's names, projections fused as its converter fuses them."""
    state = {name: tensor.numpy() for name, tensor in whisper.state_dict().items()}
    out = {"encoder/num_heads": np.int16(whisper.config.encoder_attention_heads)}
    out["decoder/num_heads"] = np.int16(whisper.config.decoder_attention_heads)
    out["decoder/scale_embeddings"] = np.int8(0)

    def linear(name, *modules):
        out[f"{name}/weight"] = np.concatenate([state[f"{m}.weight"] for m in modules])
        out[f"{name}/bias"] = np.concatenate(
            [state.get(f"{m}.bias", np.zeros(len(state[f"{m}.weight"]), "f4")) for m in modules]
        )

    def norm(name, module):
        out[f"{name}/gamma"], out[f"{name}/beta"] = state[f"{module}.weight"], state[f"{module}.bias"]

    for i in (1, 2):
        linear(f"encoder/conv{i}", f"model.encoder.conv{i}")
    for side in ("encoder", "decoder"):
        out[f"{side}/position_encodings/encodings"] = state[f"model.{side}.embed_positions.weight"]
        norm(f"{side}/layer_norm", f"model.{side}.layer_norm")
        for i in range(getattr(whisper.config, f"{side}_layers")):
            ours, theirs = f"{side}/layer_{i}", f"model.{side}.layers.{i}"
            attn = f"{theirs}.self_attn"
            linear(f"{ours}/self_attention/linear_0", *(f"{attn}.{x}_proj" for x in "qkv"))
            linear(f"{ours}/self_attention/linear_1", f"{attn}.out_proj")
            norm(f"{ours}/self_attention/layer_norm", f"{theirs}.self_attn_layer_norm")
            linear(f"{ours}/ffn/linear_0", f"{theirs}.fc1")
            linear(f"{ours}/ffn/linear_1", f"{theirs}.fc2")
            norm(f"{ours}/ffn/layer_norm", f"{theirs}.final_layer_norm")
            if side == "decoder":
                cross = f"{theirs}.encoder_attn"
                linear(f"{ours}/attention/linear_0", f"{cross}.q_proj")
                linear(f"{ours}/attention/linear_1", f"{cross}.k_proj", f"{cross}.v_proj")
                linear(f"{ours}/attention/linear_2", f"{cross}.out_proj")
                norm(f"{ours}/attention/layer_norm", f"{theirs}.encoder_attn_layer_norm")
    out["decoder/embeddings/weight"] = state["model.decoder.embed_tokens.weight"]
    return {name: a if np.ndim(a) == 0 else a.astype(dtype) for name, a in out.items()}


ALIASES = {"decoder/projection/weight": "decoder/embeddings/weight"}


@pytest.fixture(scope="module")
def whisper():
    torch.manual_seed(0)
    config = WhisperConfig(
        d_model=12, num_mel_bins=8, vocab_size=16, encoder_layers=2, decoder_layers=3,
        encoder_attention_heads=3, decoder_attention_heads=3, encoder_ffn_dim=20, decoder_ffn_dim=24,
        max_source_positions=30, max_target_positions=14, pad_token_id=3, bos_token_id=3, eos_token_id=3,
    decoder_start_token_id=4, )  # fmt: skip
    model = WhisperForConditionalGeneration(config).eval()
    for parameter in model.parameters():
        # Random values everywhere, norms and biases too, exact in float16 so that storing loses nothing.
        parameter.data = (torch.randn_like(parameter) * 0.3).half().float()
    return model


@pytest.fixture
def original(tmp_path, whisper):
    folder = tmp_path / "original"
    folder.mkdir()
    (folder / "model.bin").write_bytes(serialise(ctranslate2_variables(whisper, "f2"), ALIASES))
    (folder / "config.json").write_text(json.dumps(HINTS))
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="hello"))
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def outputs(model):
    """Encoder states (2, 30, 12) and decoder logits (2, 5, 16) for fixed inputs."""
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(2, 8, 60, generator=generator)
    tokens = torch.randint(0, 16, (2, 5), generator=generator)
    with torch.inference_mode():
        out = model(input_features=features, decoder_input_ids=tokens)
    return out.encoder_last_hidden_state, out.logits


@pytest.mark.parametrize("dtype", ["f2", "f4"])
def test_converted_model_computes_what_the_original_computes(tmp_path, whisper, original, dtype):
    (original / "model.bin").write_bytes(serialise(ctranslate2_variables(whisper, dtype), ALIASES))
    target = tmp_path / "target"
    target.mkdir()
    convert_whisper(original, target)
    stored = WhisperForConditionalGeneration.from_pretrained(target, dtype="auto")
    assert stored.dtype == {"f2": torch.float16, "f4": torch.float32}[dtype]
    for found, expected in zip(outputs(stored.float().eval()), outputs(whisper), strict=True):
        assert torch.equal(found, expected)


def test_whole_asset_has_ids_tokenizer_features_and_facts(tmp_path, original):
    source = {"path": str(original)}
    values = {"format": "ctranslate2_whisper", "licence": "MIT", "sources": [source]}
    target = tmp_path / "asset"
    fetched = tmp_path / "originals" / "asset"
    assert fetch_asset("asset", AssetSettings.model_validate(values), fetched).format == "ctranslate2_whisper"
    record = convert_asset(fetched / "asset.json", target)
    generation = WhisperForConditionalGeneration.from_pretrained(target).generation_config
    assert (generation.eos_token_id, generation.decoder_start_token_id) == (3, 4)
    assert generation.lang_to_id == {"<|en|>": 5, "<|de|>": 6} and generation.is_multilingual
    assert generation.task_to_id == {"translate": 7, "transcribe": 8}
    assert generation.no_timestamps_token_id == 10
    assert generation.suppress_tokens == [1, 4] and generation.begin_suppress_tokens == [2]
    assert generation.alignment_heads == [[1, 0]] and generation.max_length == 14
    assert AutoTokenizer.from_pretrained(target).decode([4, 5, 0, 1, 3], skip_special_tokens=True) == "hello world"
    assert WhisperFeatureExtractor.from_pretrained(target).feature_size == 8
    assert (record.model_type, record.vocab_size, record.tokenizer_size) == ("whisper", 16, 11)
    assert (record.format, record.has_chat_template, record.dtypes) == ("transformers", False, ["F16"])
    assert sorted(record.originals) == ["config.json", "model.bin", "tokenizer.json"]
    assert not (target / "model.bin").exists() and (fetched / "model.bin").exists()


def test_a_conversion_replaces_the_earlier_one_and_leaves_what_was_fetched(tmp_path, original):
    values = {"format": "ctranslate2_whisper", "licence": "MIT", "sources": [{"path": str(original)}]}
    fetch_asset("asset", AssetSettings.model_validate(values), tmp_path / "originals" / "asset")
    first, again = (
        convert_asset(tmp_path / "originals" / "asset" / "asset.json", tmp_path / "asset") for _ in range(2)
    )
    assert first == again
    (tmp_path / "asset" / "left.safetensors").write_bytes(b"of an earlier version")
    convert_asset(tmp_path / "originals" / "asset" / "asset.json", tmp_path / "asset")
    assert not (tmp_path / "asset" / "left.safetensors").exists()


def rejects(original, variables, aliases, message, **header):
    (original / "model.bin").write_bytes(serialise(variables, aliases, **header))
    target = original.parent / "target"
    target.mkdir(exist_ok=True)
    with pytest.raises(AssetError, match=message):
        convert_whisper(original, target)
    assert not list(target.iterdir())


def test_model_that_is_not_exactly_whisper_is_refused(original, whisper):
    good = ctranslate2_variables(whisper, "f2")
    fused = "decoder/layer_0/self_attention/linear_0/bias"
    biased = good | {fused: np.ones_like(good[fused])}
    rejects(original, biased, ALIASES, f"{fused} has a non-zero bias of the keys")
    rejects(
        original,
        good | {"decoder/extra/weight": np.ones(2, "f2")},
        ALIASES,
        "unknown tensor decoder/extra/weight",
    )
    lacking = {name: a for name, a in good.items() if name != "decoder/layer_1/ffn/linear_1/bias"}
    rejects(original, lacking, ALIASES, r"missing \['model\.decoder\.layers\.1\.fc2\.bias'\]")
    lacking = {name: a for name, a in good.items() if name != "encoder/num_heads"}
    rejects(original, lacking, ALIASES, "no tensor 'encoder/num_heads'")
    quantised = good | {"encoder/layer_0/ffn/linear_0/weight": np.ones((20, 12), np.int8)}
    rejects(original, quantised, ALIASES, "is quantised")
    rejects(original, good, {}, "not tied")
    rejects(original, good, ALIASES, "'TransformerSpec'", specification="TransformerSpec")
    rejects(original, good, ALIASES, "format version 5", version=5)


def test_truncated_or_lengthened_file_is_refused_at_every_cut(original):
    path = original / "model.bin"
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    for cut in [0, 3, 4, 5, *rng.integers(6, len(data), 40).tolist(), len(data) - 1]:
        path.write_bytes(data[:cut])
        with pytest.raises(AssetError, match="truncated"):
            read_ctranslate2(path)
    path.write_bytes(data + b"\0")
    with pytest.raises(AssetError, match="1 bytes after the end"):
        read_ctranslate2(path)


@pytest.mark.parametrize("missing", ["model.bin", "config.json", "tokenizer.json"])
def test_missing_part_is_named(tmp_path, original, missing):
    (original / missing).unlink()
    with pytest.raises(AssetError, match=f"has no {missing}"):
        convert_whisper(original, tmp_path)


def test_tokenizer_of_another_model_is_refused(tmp_path, original):
    Tokenizer(models.WordLevel({"a": 0}, unk_token="a")).save(str(original / "tokenizer.json"))
    with pytest.raises(AssetError, match=r"no token <\|endoftext\|>"):
        convert_whisper(original, tmp_path)
