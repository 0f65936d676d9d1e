"""HuBERT and k-means in fairseq's and joblib's layouts, random: converted, compared with a forward pass by hand."""

import types

import joblib
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn.functional import conv1d, gelu, group_norm, linear

from tests.speech_lm.converters.by_hand import bidirectional, feed_forward, norm_of
from workflow_scripts.speech_lm.converters.convert_hubert_units import (
    KERNELS,
    STRIDES,
    convert_hubert_units,
    read_centres,
)
from workflow_scripts.speech_lm.families.speech_units import HubertUnits, load_quantizer
from workflow_scripts.speech_lm.protocol import SpeechLMError

CHANNELS, WIDTH, HEADS, LAYERS, INNER, GROUPS, POSITION, CLUSTERS = 8, 16, 2, 3, 24, 4, 6, 20
LAYER = 2


def fairseq_weights():
    """Random tensors by fairseq's names."""
    generator = torch.Generator().manual_seed(1)

    def draw(*shape, scale=0.3):
        return scale * torch.randn(shape, generator=generator)

    w = {
        f"feature_extractor.conv_layers.{n}.0.weight": draw(CHANNELS, 1 if n == 0 else CHANNELS, kernel, scale=0.6)
        for n, kernel in enumerate(KERNELS)
    }
    norms = {"feature_extractor.conv_layers.0.2": CHANNELS, "layer_norm": CHANNELS, "encoder.layer_norm": WIDTH}
    w |= {"post_extract_proj.weight": draw(WIDTH, CHANNELS), "post_extract_proj.bias": draw(WIDTH)}
    w |= {
        "mask_emb": draw(WIDTH),
        "label_embs_concat": draw(5, 7),
        "final_proj.weight": draw(7, WIDTH),
        "encoder.pos_conv.0.weight_g": 1 + draw(1, 1, POSITION).abs(),
        "encoder.pos_conv.0.weight_v": draw(WIDTH, WIDTH // GROUPS, POSITION),
        "encoder.pos_conv.0.bias": draw(WIDTH),
    }
    for layer in range(LAYERS):
        at = f"encoder.layers.{layer}"
        for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
            w |= {f"{at}.self_attn.{name}.weight": draw(WIDTH, WIDTH), f"{at}.self_attn.{name}.bias": draw(WIDTH)}
        w |= {f"{at}.fc1.weight": draw(INNER, WIDTH), f"{at}.fc1.bias": draw(INNER)}
        w |= {f"{at}.fc2.weight": draw(WIDTH, INNER), f"{at}.fc2.bias": draw(WIDTH)}
        norms |= {f"{at}.self_attn_layer_norm": WIDTH, f"{at}.final_layer_norm": WIDTH}
    for name, width in norms.items():
        w |= {f"{name}.weight": 1 + draw(width), f"{name}.bias": draw(width)}
    return w


def hubert_by_hand(w, audio, layer):
    """(samples,) -> (T, d), the output of the `layer`th transformer layer, 1 being the first."""
    x = torch.from_numpy(audio)[None, None]
    for number, stride in enumerate(STRIDES):
        x = conv1d(x, w[f"feature_extractor.conv_layers.{number}.0.weight"], stride=stride)
        if number == 0:
            at = "feature_extractor.conv_layers.0.2"
            x = group_norm(x, CHANNELS, w[f"{at}.weight"], w[f"{at}.bias"])
        x = gelu(x)
    x = linear(norm_of(w, "layer_norm", x[0].T), w["post_extract_proj.weight"], w["post_extract_proj.bias"])
    g, v = w["encoder.pos_conv.0.weight_g"], w["encoder.pos_conv.0.weight_v"]
    kernel = g * v / v.pow(2).sum(dim=(0, 1), keepdim=True).sqrt()
    position = conv1d(x.T[None], kernel, w["encoder.pos_conv.0.bias"], padding=POSITION // 2, groups=GROUPS)
    x = norm_of(w, "encoder.layer_norm", x + gelu(position[0, :, :-1]).T)  # an even kernel gives one position too many
    for number in range(layer):
        at = f"encoder.layers.{number}"
        x = norm_of(w, f"{at}.self_attn_layer_norm", x + bidirectional(w, f"{at}.self_attn", x, HEADS))
        x = norm_of(w, f"{at}.final_layer_norm", x + feed_forward(w, at, x))
    return x


class Namespace(types.SimpleNamespace):
    """Stands for fairseq's and omegaconf's settings inside the checkpoint."""


@pytest.fixture(scope="module")
def centres():
    """States of another clip, so that a clip's states are near to different ones."""
    audio = np.random.default_rng(8).standard_normal(320 * (CLUSTERS + 2)).astype(np.float32)
    return hubert_by_hand(fairseq_weights(), audio, LAYER)[:CLUSTERS].numpy()


@pytest.fixture
def published(tmp_path, centres):
    settings = {"args": Namespace(arch="hubert", nested=Namespace(normalize=False)), "cfg": Namespace(task=None)}
    torch.save({**settings, "model": fairseq_weights(), "best_loss": 1.5}, tmp_path / "mhubert.pt")
    np.save(tmp_path / "km.npy", centres)
    return tmp_path / "mhubert.pt", tmp_path / "km.npy"


def test_units_are_the_nearest_centres_to_the_original_layer(published, centres, tmp_path):
    folder = convert_hubert_units(*published, tmp_path / "units", head_size=WIDTH // HEADS)
    quantizer = load_quantizer(folder, LAYER, torch.device("cpu"))
    assert isinstance(quantizer, HubertUnits) and quantizer.rate == 50 and not quantizer.normalise
    audio = np.random.default_rng(4).standard_normal(9_000).astype(np.float32)
    states = hubert_by_hand(fairseq_weights(), audio, LAYER)
    hidden = quantizer.model(torch.from_numpy(audio)[None], output_hidden_states=True).hidden_states[LAYER][0]
    torch.testing.assert_close(hidden, states, rtol=1e-4, atol=1e-4)
    expected = ((states.numpy()[:, None] - centres[None]) ** 2).sum(axis=2).argmin(axis=1)
    units = quantizer(audio)
    assert units.tolist() == expected.tolist() and len(set(units.tolist())) > 3


def test_centres_come_from_plain_files_too(tmp_path, centres):
    np.save(tmp_path / "c.npy", centres)
    save_file({"centroids": torch.from_numpy(centres)}, tmp_path / "c.safetensors")
    for name in ("c.npy", "c.safetensors"):
        assert np.array_equal(read_centres(tmp_path / name), centres)


def test_a_pickle_of_centres_is_not_opened_and_the_conversion_is_named(tmp_path):
    ran = tmp_path / "ran"

    class Trap:
        def __reduce__(self):
            return (open, (str(ran), "w"))

    joblib.dump(Trap(), tmp_path / "trap.bin")
    with pytest.raises(SpeechLMError, match=r"cannot be read as centres .* give them as \.npy: python -c"):
        read_centres(tmp_path / "trap.bin")
    assert not ran.exists()


def test_files_of_other_models_are_named(published, tmp_path):
    weights, centres = published
    narrow = tmp_path / "narrow.npy"
    np.save(narrow, np.zeros((5, WIDTH - 1), dtype=np.float32))
    with pytest.raises(SpeechLMError, match=f"the centres have width {WIDTH - 1}, HuBERT {WIDTH}"):
        convert_hubert_units(weights, narrow, tmp_path / "units", head_size=8)
    large = fairseq_weights() | {"feature_extractor.conv_layers.1.2.1.weight": torch.ones(CHANNELS)}
    torch.save({"model": large}, weights)
    with pytest.raises(SpeechLMError, match=r"conv_layers\.1\.2\.1\.weight is not of a HuBERT base model"):
        convert_hubert_units(weights, centres, tmp_path / "units", head_size=8)
    torch.save({"state": {}}, weights)
    with pytest.raises(SpeechLMError, match="no checkpoint of fairseq"):
        convert_hubert_units(weights, centres, tmp_path / "units")
