"""BLSP's layout, random weights: converted, loaded like any checkpoint, compared with a forward pass by hand."""

import json

import pytest
import torch
from torch.nn.functional import conv1d, gelu, glu, linear

from tests.speech_lm.converters.by_hand import Sizes, assert_computes, llama, llama_config, llama_weights, norm_of
from tests.speech_lm.tiny_processor import make_tokenizer
from workflow_scripts.artifacts.checkpoints import CheckpointIndex
from workflow_scripts.speech_lm.converters.convert_blsp import convert_blsp
from workflow_scripts.speech_lm.families.composite import load_composite
from workflow_scripts.speech_lm.protocol import Speech, SpeechLMError
from workflow_scripts.speech_lm.trainable.adapters import ConvAdapter, ConvAdapterShape

SIZES, D_ENCODER, D_INNER, FRAMES = Sizes(theta=50_000.0), 12, 8, 43
CONFIG = {
    "architectures": ["BlspModel"],
    "adapter_inner_dim": D_INNER,
    "conv_kernel_sizes": "5,5,5",
    "llama_config": llama_config(SIZES) | {"model_type": "llama"},
    "whisper_config": {"d_model": D_ENCODER, "model_type": "whisper"},
}


def published_weights():
    """Random tensors by the names of the original."""
    generator = torch.Generator().manual_seed(3)
    widths = [2 * D_ENCODER, 2 * D_ENCODER, 2 * SIZES.width]
    shapes = {f"subsampler.conv_layers.{n}.weight": (width, D_ENCODER, 5) for n, width in enumerate(widths)}
    shapes |= {f"subsampler.conv_layers.{n}.bias": (width,) for n, width in enumerate(widths)}
    shapes |= {"adapter.fc1.weight": (D_INNER, SIZES.width), "adapter.fc2.weight": (SIZES.width, D_INNER)}
    shapes |= {"speech_ln.weight": (SIZES.width,), "speech_ln.bias": (SIZES.width,)}
    shapes |= {"whisper_model.conv1.weight": (4, 4)}
    own = {name: 0.3 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return own | {f"llama_model.{name}": tensor for name, tensor in llama_weights(SIZES).items()}


@pytest.fixture
def published(tmp_path):
    """As published: pickled in two parts, with buffers that newer Llamas do not have."""
    folder = tmp_path / "published"
    folder.mkdir()
    tensors = published_weights() | {"llama_model.model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}
    names = sorted(tensors)
    for part in (0, 1):
        torch.save({name: tensors[name] for name in names[part::2]}, folder / f"pytorch_model-0000{part}-of-00002.bin")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    make_tokenizer(template=None).save_pretrained(folder)
    return folder


def adapter_by_hand(w, frames):
    """(F, d_enc) -> (T_s, d): three convolutions of stride 2 with gates, the bottleneck, the norm."""
    x = frames.T
    for number in range(3):
        at = f"subsampler.conv_layers.{number}"
        x = glu(conv1d(x[None], w[f"{at}.weight"], w[f"{at}.bias"], stride=2, padding=2)[0], dim=0)
    x = x.T
    x = x + linear(gelu(linear(x, w["adapter.fc1.weight"])), w["adapter.fc2.weight"])
    return norm_of(w, "speech_ln", x)


def test_the_converted_model_computes_what_the_published_weights_say(published, tmp_path):
    index = convert_blsp(published, tmp_path / "converted")
    folder = CheckpointIndex.read(index).folder(index, "step-000000")
    backbone = tmp_path / "converted" / "backbone"
    lm = load_composite(backbone=backbone, checkpoint=folder, encoder=None, device="cpu", dtype="float32")

    w, frames = published_weights(), torch.randn(FRAMES, D_ENCODER, generator=torch.Generator().manual_seed(2))
    query = lm.encode_speech(Speech(None, 16_000, FRAMES / 50, frames))
    spoken = adapter_by_hand(w, frames)
    assert query.span[1] - query.span[0] == len(spoken) == 6, "43 frames are halved to 22, 11 and 6"
    assert query.tokens[:2] == ("0.00s", "0.16s")
    texts = [lm.tokenizer(text)["input_ids"] for text in ("###[Human]:", "\n\n\n###[Assistant]:")]
    before, after = (w["llama_model.model.embed_tokens.weight"][ids] for ids in texts)
    language = {name.removeprefix("llama_model."): tensor for name, tensor in w.items()}
    states, logits = llama(language, torch.cat([before, spoken, after]), SIZES)
    assert_computes(lm, query, states, logits)


def test_the_backbone_is_the_same_language_model_without_ears(published, tmp_path):
    index = convert_blsp(published, tmp_path / "converted")
    folder = CheckpointIndex.read(index).folder(index, "step-000000")
    options = {"backbone": tmp_path / "converted" / "backbone", "encoder": None, "device": "cpu", "dtype": "float32"}
    base, tuned = (load_composite(checkpoint=checkpoint, **options) for checkpoint in (None, folder))
    answers = [lm.generate([lm.encode_text("what is water")], max_new_tokens=4, stop_ids=[])[0] for lm in (base, tuned)]
    assert answers[0].token_ids == answers[1].token_ids
    with pytest.raises(SpeechLMError, match="no speech adapter"):
        base.encode_speech(Speech(None, 16_000, 0.8, torch.zeros(40, D_ENCODER)))
    with pytest.raises(SpeechLMError, match="trained without system prompts"):
        load_composite(checkpoint=folder, system_prompt="Be brief.", **options).encode_text("what")


def test_padding_does_not_change_a_row():
    torch.manual_seed(0)
    adapter = ConvAdapter(ConvAdapterShape(d_encoder=6, d_inner=4, d_model=10))
    rows = [torch.randn(n, 6) for n in (17, 40, 8)]
    padded = torch.full((3, 48, 6), 7.0)
    for row, frames in zip(padded, rows):
        row[: len(frames)] = frames
    together, lengths = adapter(padded, torch.tensor([17, 40, 8]))
    assert lengths.tolist() == [3, 5, 1]
    for row, frames, length in zip(together, rows, lengths):
        alone, own = adapter(frames[None], torch.tensor([len(frames)]))
        assert own.item() == length == alone.shape[1]
        torch.testing.assert_close(row[:length], alone[0])


def test_other_folders_and_missing_parts_are_named(published, tmp_path):
    config = json.loads((published / "config.json").read_text())
    (published / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(SpeechLMError, match="not BLSP's"):
        convert_blsp(published, tmp_path / "converted")
    (published / "config.json").write_text(json.dumps(config))
    (published / "pytorch_model-00001-of-00002.bin").unlink()
    with pytest.raises(SpeechLMError, match=r"no tensor|missing \["):
        convert_blsp(published, tmp_path / "converted")
    assert not (tmp_path / "converted" / "checkpoints.json").exists()


def test_weights_that_would_run_code_are_read_without_it(published, tmp_path):
    ran = tmp_path / "ran"

    class Trap:
        def __reduce__(self):
            return (open, (str(ran), "w"))

    torch.save({"llama_model.lm_head.weight": Trap()}, published / "pytorch_model-00003-of-00003.bin")
    with pytest.raises(SpeechLMError, match="holds more than tensors"):
        convert_blsp(published, tmp_path / "converted")
    assert not ran.exists()
