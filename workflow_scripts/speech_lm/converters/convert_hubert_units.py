"""HuBERT and its k-means clusters as published for fairseq, as a quantizer of the units family; without fairseq.

    python -m workflow_scripts.speech_lm.converters.convert_hubert_units mhubert_base_vp_en_es_fr_it3.pt \\
        centres.npy <target folder>

The centres are published as a pickle of scikit-learn, which runs code when it is loaded. Read it where that may happen:

    python -c "import joblib, numpy; numpy.save('centres.npy', joblib.load('<file>.bin').cluster_centers_)"

The target is what `quantizer` of a units model names (`speech_units.HubertUnits`). Base models only: group norm in the
first convolution, layer norms behind the blocks, waveforms as they are.

Source: parameter names of https://github.com/facebookresearch/fairseq (models/hubert, models/wav2vec), and of SpeechGPT
which files it takes (speechgpt/utils/speech2unit).
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

from workflow_scripts.speech_lm.families.speech_units import CENTROIDS
from workflow_scripts.speech_lm.protocol import SpeechLMError
from workflow_scripts.speech_lm.torch_files import fill, read_torch_file

KERNELS, STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)
"""Of every published HuBERT: 20 ms a frame. Strides are in no tensor, so the kernels are checked."""
HEAD = 64
LEFT_OUT = ("label_embs_concat", "final_proj.")
"""What predicts clusters in training."""
NAMES = (
    (r"feature_extractor\.conv_layers\.(\d+)\.0\.(weight|bias)", r"feature_extractor.conv_layers.\1.conv.\2"),
    (r"feature_extractor\.conv_layers\.0\.2\.(weight|bias)", r"feature_extractor.conv_layers.0.layer_norm.\1"),
    (r"layer_norm\.(weight|bias)", r"feature_projection.layer_norm.\1"),
    (r"post_extract_proj\.(weight|bias)", r"feature_projection.projection.\1"),
    (r"mask_emb", r"masked_spec_embed"),
    (r"encoder\.pos_conv\.0\.bias", r"encoder.pos_conv_embed.conv.bias"),
    (r"encoder\.pos_conv\.0\.weight_g", r"encoder.pos_conv_embed.conv.parametrizations.weight.original0"),
    (r"encoder\.pos_conv\.0\.weight_v", r"encoder.pos_conv_embed.conv.parametrizations.weight.original1"),
    (r"encoder\.layer_norm\.(weight|bias)", r"encoder.layer_norm.\1"),
    (r"encoder\.layers\.(\d+)\.self_attn\.([kvq]_proj|out_proj)\.(.+)", r"encoder.layers.\1.attention.\2.\3"),
    (r"encoder\.layers\.(\d+)\.self_attn_layer_norm\.(.+)", r"encoder.layers.\1.layer_norm.\2"),
    (r"encoder\.layers\.(\d+)\.fc1\.(.+)", r"encoder.layers.\1.feed_forward.intermediate_dense.\2"),
    (r"encoder\.layers\.(\d+)\.fc2\.(.+)", r"encoder.layers.\1.feed_forward.output_dense.\2"),
    (r"encoder\.layers\.(\d+)\.final_layer_norm\.(.+)", r"encoder.layers.\1.final_layer_norm.\2"),
)
"""fairseq's name -> transformers' name."""


def convert_hubert_units(weights: Path, centres: Path, target: Path, *, head_size: int = HEAD) -> Path:
    """Write HuBERT in transformers' layout and `centroids.safetensors` into `target`.

    Args:
        weights: fairseq's .pt file. centres: the k-means centres (K, d) as .npy, or as .safetensors with one tensor.
        head_size: width of an attention head, which is in no tensor; 64 in every published HuBERT.

    Raises:
        SpeechLMError: a file is another one, or weights and centres are of different widths.
    """
    weights, target = Path(weights), Path(target)
    content = read_torch_file(weights)
    if not isinstance(content, Mapping) or not isinstance(content.get("model"), Mapping):
        raise SpeechLMError(f"{weights} has no `model`; it is no checkpoint of fairseq")
    tensors = {name: t for name, t in content["model"].items() if not name.startswith(LEFT_OUT)}
    renamed = {_renamed(name, weights): tensor.float() for name, tensor in tensors.items()}
    config = _config(tensors, weights, head_size)
    found = read_centres(Path(centres))
    if found.shape[1] != config.hidden_size:
        raise SpeechLMError(
            f"{centres}: the centres have width {found.shape[1]}, HuBERT {config.hidden_size}; take the file of the "
            "same model"
        )
    with torch.device("meta"):
        hubert = HubertModel(config)
    if "masked_spec_embed" not in renamed and "masked_spec_embed" in hubert.state_dict():
        renamed["masked_spec_embed"] = torch.zeros(config.hidden_size)  # for training only
    fill(hubert, renamed, weights)
    hubert.save_pretrained(target)
    Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=False).save_pretrained(target)
    save_file({"centroids": found}, target / CENTROIDS)
    return target


def read_centres(path: Path) -> Tensor:
    """(K, d) float32 cluster centres of a .npy or .safetensors file.

    Raises:
        SpeechLMError: it is another file; says how to convert the published one.
    """
    try:
        if path.suffix == ".safetensors":
            (found,) = load_file(path).values()
        else:
            found = torch.from_numpy(np.load(path, allow_pickle=False))
    except (OSError, ValueError, SafetensorError) as error:
        raise SpeechLMError(
            f'{path} cannot be read as centres ({error}); give them as .npy: python -c "import joblib, numpy; '
            f"numpy.save('centres.npy', joblib.load('{path}').cluster_centers_)\" (this runs code from the file)"
        ) from error
    if found.ndim != 2:
        raise SpeechLMError(f"{path} holds an array of shape {tuple(found.shape)}, expected centres (K, d)")
    return found.float().contiguous()


def _renamed(name: str, source: Path) -> str:
    for theirs, ours in NAMES:
        if (match := re.fullmatch(theirs, name)) is not None:
            return match.expand(ours)
    raise SpeechLMError(f"{source}: tensor {name} is not of a HuBERT base model; large models have another layout")


def _config(tensors: Mapping[str, Tensor], source: Path, head_size: int) -> HubertConfig:
    def shape(name: str) -> tuple[int, ...]:
        if name not in tensors:
            raise SpeechLMError(f"{source}: no tensor {name}; it is no HuBERT")
        return tuple(tensors[name].shape)

    convolutions = [shape(f"feature_extractor.conv_layers.{n}.0.weight") for n in range(len(KERNELS))]
    if (kernels := tuple(one[2] for one in convolutions)) != KERNELS:
        raise SpeechLMError(f"{source}: convolutions have kernels {kernels}, expected {KERNELS}")
    position = shape("encoder.pos_conv.0.weight_v")
    inner, width = shape("encoder.layers.0.fc1.weight")
    numbers = [int(m[1]) for name in tensors if (m := re.match(r"encoder\.layers\.(\d+)\.", name))]
    values: dict[str, Any] = {
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": 1 + max(numbers),
        "num_attention_heads": width // head_size,
        "conv_dim": tuple(one[0] for one in convolutions),
        "conv_kernel": KERNELS,
        "conv_stride": STRIDES,
        "conv_bias": "feature_extractor.conv_layers.0.0.bias" in tensors,
        "num_conv_pos_embeddings": position[2],
        "num_conv_pos_embedding_groups": width // position[1],
        "feat_extract_norm": "group",
        "do_stable_layer_norm": False,
    }
    return HubertConfig(**values)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name in ("weights", "centres", "target"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args()
    print(convert_hubert_units(options.weights, options.centres, options.target))
