"""GLM-4-Voice's layout, random weights: language model, tokenizer and speech tokenizer against passes by hand."""

import base64
import itertools
import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn.functional import conv1d, gelu, pad
from transformers import AutoTokenizer, WhisperFeatureExtractor

from tests.speech_lm.converters.by_hand import Sizes, assert_computes, bidirectional, chatglm, feed_forward, norm_of
from workflow_scripts.settings.families.units import UnitsModel
from workflow_scripts.speech_lm.converters.convert_glm4_voice import convert_glm4_voice
from workflow_scripts.speech_lm.converters.tiktoken_file import read_ranks
from workflow_scripts.speech_lm.families.glm4_voice_units import Glm4VoiceUnits
from workflow_scripts.speech_lm.families.speech_units import load_quantizer
from workflow_scripts.speech_lm.families.units import UnitsSpeechLM
from workflow_scripts.speech_lm.opening.model_checks import run_checks
from workflow_scripts.speech_lm.opening.open_model import load_model
from workflow_scripts.speech_lm.protocol import ModelFolders, Speech, SpeechLMError
from workflow_scripts.speech_lm.trainable.checkpoint import load_backbone

CODES = 40
WORDS = ("he", "ll", "hell", "hello", " w", " wo", "or", "ld", " wor", " world", "\n\n")
FIRST_ADDED = 256 + len(WORDS)
ADDED = ("<|endoftext|>", "[gMASK]", "<sop>", "<|user|>", "<|assistant|>", "<|begin_of_audio|>", "<|end_of_audio|>")
SIZES = Sizes(vocabulary=FIRST_ADDED + len(ADDED) + CODES + 5, theta=10_000.0 * 3)
PROMPT = "[gMASK]<sop><|user|>\n{query}<|assistant|>\n"
CONFIG = {
    "model_type": "chatglm",
    "padded_vocab_size": SIZES.vocabulary,
    "hidden_size": SIZES.width,
    "ffn_hidden_size": SIZES.inner,
    "num_layers": SIZES.layers,
    "num_attention_heads": SIZES.heads,
    "multi_query_attention": True,
    "multi_query_group_num": SIZES.key_heads,
    "kv_channels": SIZES.head,
    "seq_length": 256,
    "layernorm_epsilon": SIZES.eps,
    "rope_ratio": 3,
    "rmsnorm": True,
    "post_layer_norm": True,
    "apply_residual_connection_post_layernorm": False,
    "add_bias_linear": False,
    "add_qkv_bias": True,
    "eos_token_id": [FIRST_ADDED, FIRST_ADDED + 3],
    "pad_token_id": FIRST_ADDED,
    "tie_word_embeddings": False,
}


def language_weights():
    """Random tensors by the original's names."""
    generator = torch.Generator().manual_seed(6)

    def draw(*shape):
        return 0.3 * torch.randn(shape, generator=generator)

    rows = (SIZES.heads + 2 * SIZES.key_heads) * SIZES.head
    w = {
        "transformer.embedding.word_embeddings.weight": draw(SIZES.vocabulary, SIZES.width),
        "transformer.output_layer.weight": draw(SIZES.vocabulary, SIZES.width),
        "transformer.encoder.final_layernorm.weight": 1 + draw(SIZES.width),
        "transformer.rotary_pos_emb.inv_freq": draw(2),
    }
    for layer in range(SIZES.layers):
        at = f"transformer.encoder.layers.{layer}"
        w |= {
            f"{at}.input_layernorm.weight": 1 + draw(SIZES.width),
            f"{at}.post_attention_layernorm.weight": 1 + draw(SIZES.width),
            f"{at}.self_attention.query_key_value.weight": draw(rows, SIZES.width),
            f"{at}.self_attention.query_key_value.bias": draw(rows),
            f"{at}.self_attention.dense.weight": draw(SIZES.width, SIZES.width),
            f"{at}.mlp.dense_h_to_4h.weight": draw(2 * SIZES.inner, SIZES.width),
            f"{at}.mlp.dense_4h_to_h.weight": draw(SIZES.width, SIZES.inner),
        }
    return w


@pytest.fixture
def published(tmp_path):
    folder = tmp_path / "published"
    folder.mkdir()
    w = language_weights()
    names = sorted(w)
    for part in (0, 1):
        save_file({n: w[n] for n in names[part::2]}, folder / f"model-0000{part + 1}-of-00002.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    tokens = [bytes([byte]) for byte in range(256)] + [word.encode() for word in WORDS]
    lines = [f"{base64.b64encode(token).decode()} {rank}" for rank, token in enumerate(tokens)]
    (folder / "tokenizer.model").write_text("\n".join(lines) + "\n")
    added = [*ADDED, *(f"<|audio_{code}|>" for code in range(CODES))]
    decoder = {str(FIRST_ADDED + n): {"content": text, "special": True} for n, text in enumerate(added)}
    settings = {"added_tokens_decoder": decoder, "tokenizer_class": "ChatGLM4Tokenizer"}
    settings |= {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


class FixedUnits:
    rate = 12.5

    def __call__(self, waveform):
        return np.array([3, 3, 39, 0])


def test_the_converted_model_computes_what_the_published_weights_say(published, tmp_path):
    target = convert_glm4_voice(published, tmp_path / "converted")
    tokenizer = AutoTokenizer.from_pretrained(target)
    lm = UnitsSpeechLM(
        load_backbone(target).requires_grad_(False),
        tokenizer,
        FixedUnits(),
        unit_token="<|audio_{}|>",
        begin="<|begin_of_audio|>",
        end="<|end_of_audio|>",
        prompt=PROMPT,
        merge_repeats=False,
    )
    w = language_weights()
    query = lm.encode_speech(Speech(np.zeros(5120, dtype=np.float32), 16_000, 0.32))
    place = {text: FIRST_ADDED + n for n, text in enumerate(ADDED)}
    audio = FIRST_ADDED + len(ADDED)
    ids = [place["[gMASK]"], place["<sop>"], place["<|user|>"], ord("\n"), place["<|begin_of_audio|>"]]
    ids += [audio + 3, audio + 3, audio + 39, audio, place["<|end_of_audio|>"], place["<|assistant|>"], ord("\n")]
    states, logits = chatglm(w, w["transformer.embedding.word_embeddings.weight"][ids], SIZES)
    assert_computes(lm, query, states, logits)
    assert lm.stop_ids >= {FIRST_ADDED, FIRST_ADDED + 3}


def bpe_by_ranks(text, ranks):
    """tiktoken's rule on one word: a token as it is; else neighbours of lowest rank are joined, until none is known."""
    if text.encode() in ranks:
        return [ranks[text.encode()]]
    parts = [bytes([byte]) for byte in text.encode()]
    while True:
        known = [(ranks[a + b], k) for k, (a, b) in enumerate(itertools.pairwise(parts)) if a + b in ranks]
        if not known:
            return [ranks[part] for part in parts]
        _, k = min(known)
        parts[k : k + 2] = [parts[k] + parts[k + 1]]


def test_the_tokenizer_joins_bytes_as_ranks_say(published, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(convert_glm4_voice(published, tmp_path / "converted"))
    ranks = read_ranks(published / "tokenizer.model")
    for words in (["hello", " world"], ["shell", "\n\n"], ["held", " wool", " 日本"]):
        expected = [number for word in words for number in bpe_by_ranks(word, ranks)]
        encoded = tokenizer("".join(words), add_special_tokens=False, return_offsets_mapping=True)
        assert encoded["input_ids"] == expected
        assert tokenizer.decode(expected) == "".join(words)
    assert tokenizer("12345", add_special_tokens=False)["input_ids"] == [ord(c) for c in "12345"]
    assert tokenizer.convert_tokens_to_ids("<|audio_7|>") == FIRST_ADDED + len(ADDED) + 7


def test_other_folders_and_missing_parts_are_named(published, tmp_path):
    target = tmp_path / "converted"
    for changes, expected in (
        ({"add_bias_linear": True}, "add_bias_linear is True, transformers' Glm has False"),
        ({"padded_vocab_size": 300}, r"token \d+ is beyond the model's 300 embeddings"),
        ({"multi_query_group_num": 1}, "rows, heads and groups need"),
    ):
        (published / "config.json").write_text(json.dumps(CONFIG | changes))
        with pytest.raises(SpeechLMError, match=expected):
            convert_glm4_voice(published, target)
    (published / "config.json").write_text(json.dumps({"model_type": "glm"}))
    with pytest.raises(SpeechLMError, match="it is no ChatGLM"):
        convert_glm4_voice(published, target)
    (published / "config.json").write_text(json.dumps(CONFIG))
    settings = json.loads((published / "tokenizer_config.json").read_text())
    del settings["added_tokens_decoder"][str(FIRST_ADDED + len(ADDED))]
    (published / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(SpeechLMError, match=r"has no <\|audio_0\|>"):
        convert_glm4_voice(published, target)


# --- the speech tokenizer ------------------------------------------------------------------------------------------

WIDTH, HEADS, BINS, POOL = 16, 2, 8, 4
VQ = {
    "model_type": "whisper",
    "d_model": WIDTH,
    "encoder_layers": 4,
    "encoder_attention_heads": HEADS,
    "encoder_ffn_dim": 24,
    "num_mel_bins": BINS,
    "max_source_positions": 1500,
    "activation_function": "gelu",
    "pooling_kernel_size": POOL,
    "pooling_type": "avg",
    "pooling_position": 2,
    "quantize_position": 3,
    "quantize_vocab_size": CODES,
    "quantize_causal_block_size": 20,
    "encoder_causal_convolution": True,
}


def tokenizer_weights():
    generator = torch.Generator().manual_seed(2)

    def draw(*shape):
        return 0.4 * torch.randn(shape, generator=generator)

    w = {"conv1.weight": draw(WIDTH, BINS, 3), "conv1.bias": draw(WIDTH), "conv2.bias": draw(WIDTH)}
    w |= {"conv2.weight": draw(WIDTH, WIDTH, 3), "embed_positions.weight": draw(1500, WIDTH)}
    for layer in range(4):
        at = f"layers.{layer}"
        for name in ("q_proj", "v_proj", "out_proj"):
            w |= {f"{at}.self_attn.{name}.weight": draw(WIDTH, WIDTH), f"{at}.self_attn.{name}.bias": draw(WIDTH)}
        w |= {f"{at}.self_attn.k_proj.weight": draw(WIDTH, WIDTH)}
        w |= {f"{at}.fc1.weight": draw(24, WIDTH), f"{at}.fc1.bias": draw(24)}
        w |= {f"{at}.fc2.weight": draw(WIDTH, 24), f"{at}.fc2.bias": draw(WIDTH)}
        for norm in ("self_attn_layer_norm", "final_layer_norm"):
            w |= {f"{at}.{norm}.weight": 1 + draw(WIDTH), f"{at}.{norm}.bias": draw(WIDTH)}
    w |= {"codebook.weight": draw(CODES, WIDTH), "embed_positions2.weight": draw(375, WIDTH)}
    return w | {"ema_count": draw(CODES), "layer_norm.weight": draw(WIDTH), "layer_norm.bias": draw(WIDTH)}


def write_tokenizer(folder, config, codebook=None):
    folder.mkdir()
    tensors = {f"model.encoder.{name}": tensor for name, tensor in tokenizer_weights().items()}
    if codebook is not None:
        tensors["model.encoder.codebook.weight"] = codebook
    save_file(tensors | {"model.decoder.embed_positions.weight": torch.ones(2, 2)}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    WhisperFeatureExtractor(feature_size=BINS).save_pretrained(folder)
    return folder


def states_by_hand(w, mel, config):
    """Log-mel (bins, F) of real audio filled up to whole units -> one state per unit of 8 frames."""
    causal_convolution = config["encoder_causal_convolution"]
    x = mel[None]
    for name, stride in (("conv1", 1), ("conv2", 2)):
        x = pad(x, (2, 0) if causal_convolution else (1, 1))
        x = gelu(conv1d(x, w[f"{name}.weight"], w[f"{name}.bias"], stride=stride))
    x = x[0].T
    x = x + w["embed_positions.weight"][: len(x)]
    per_block = config["quantize_causal_block_size"]
    for layer in range(config["quantize_position"]):
        at = f"layers.{layer}"
        place = torch.arange(len(x))
        mask = None
        if config.get("quantize_causal_encoder"):
            mask = place[None, :] <= place[:, None]
        elif per_block is not None:
            same = (place[:, None] // per_block) == (place[None, :] // per_block)
            mask = (place[None, :] <= place[:, None]) | same
        x = x + bidirectional(w, f"{at}.self_attn", norm_of(w, f"{at}.self_attn_layer_norm", x), HEADS, mask)
        x = x + feed_forward(w, at, norm_of(w, f"{at}.final_layer_norm", x))
        if layer + 1 == config["pooling_position"]:
            groups = x.view(-1, POOL, WIDTH)
            x = groups.mean(dim=1) if config["pooling_type"] == "avg" else groups.max(dim=1).values
            per_block = None if per_block is None else per_block // POOL
    return x


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"pooling_type": "max", "quantize_causal_block_size": None},
        {"quantize_causal_encoder": True, "encoder_causal_convolution": False},
        {"pooling_position": 3},
    ],
    ids=["blocks", "whole", "causal", "pooled last"],
)
def test_codes_are_those_of_the_original_encoder(tmp_path, changes):
    config, log_mel = VQ | changes, WhisperFeatureExtractor(feature_size=BINS)

    def states(audio):
        mel = log_mel(audio, sampling_rate=16_000, padding="longest", return_tensors="pt")["input_features"][0]
        return states_by_hand(tokenizer_weights(), mel, config)

    rng = np.random.default_rng(1)
    audio, other = (rng.standard_normal(1280 * n).astype(np.float32) for n in (17, CODES))  # whole units
    codebook = states(other).contiguous()  # near to the states of a clip
    units = load_quantizer(write_tokenizer(tmp_path / "tokenizer", config, codebook), 11, torch.device("cpu"))
    assert isinstance(units, Glm4VoiceUnits) and units.rate == 12.5
    expected = ((states(audio)[:, None] - codebook[None]) ** 2).sum(dim=2).argmin(dim=1)
    found = units(audio)
    assert found.tolist() == expected.tolist()
    assert len(set(found.tolist())) >= 4, "codes that depend on the audio"


def test_language_model_and_tokenizer_together_pass_every_check(published, tmp_path):
    tokenizer = write_tokenizer(tmp_path / "tokenizer", VQ)
    settings = {"family": "units", "path": "x", "quantizer": "tokenizer", "prompt": PROMPT, "merge_repeats": False}
    settings |= {"unit_token": "<|audio_{}|>", "begin": "<|begin_of_audio|>", "end": "<|end_of_audio|>"}
    lm = load_model(
        ModelFolders(convert_glm4_voice(published, tmp_path / "converted"), quantizer=tokenizer),
        {"name": "glm", **UnitsModel.model_validate(settings).model_dump()},
        device=torch.device("cpu"),
        dtype=torch.float32,
    )
    results = run_checks(lm)
    assert not [result for result in results if not result.passed]
    assert "12.5 positions per second" in {r.check: r.detail for r in results}["speech span and padding"]


def test_a_clip_that_fills_no_whole_unit_ends_with_a_shorter_one(tmp_path):
    units = load_quantizer(write_tokenizer(tmp_path / "tokenizer", VQ), 11, torch.device("cpu"))
    audio = np.random.default_rng(1).standard_normal(16_000 * 31).astype(np.float32)
    assert len(units(audio[:1280])) == 1 and len(units(audio[:1281])) == 2
    whole = units(audio)
    assert len(whole) == 375 + 13, "30 s and 1 s, each on its own"
    assert whole[375:].tolist() == units(audio[16_000 * 30 :]).tolist()


def test_a_tokenizer_that_lacks_a_part_is_named(tmp_path):
    folder = write_tokenizer(tmp_path / "tokenizer", VQ | {"quantize_position": 5})
    with pytest.raises(SpeechLMError, match=r"no tensor model\.encoder\.layers\.4"):
        load_quantizer(folder, 11, torch.device("cpu"))
    (folder / "config.json").write_text(json.dumps(VQ | {"pooling_kernel_size": None}))
    with pytest.raises(SpeechLMError, match="expected a pooling in front of the codes"):
        load_quantizer(folder, 11, torch.device("cpu"))
