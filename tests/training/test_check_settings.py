"""Layers and LoRA targets that the backbone lacks are refused before anything is trained."""

import json

import pytest
from transformers import LlamaConfig, LlamaForCausalLM

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.training.check_settings import check_settings


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("assets") / "tiny-llama"
    sizes = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=20, **sizes)).save_pretrained(folder)
    return folder


def test_what_the_backbone_has_passes_and_is_written_down(backbone, tmp_path):
    check_settings(backbone, tmp_path / "checked.json", layers={"activations.layers": [0, 3]}, targets=["q_proj"])
    found = json.loads((tmp_path / "checked.json").read_text())
    assert found["n_layers"] == 3
    assert found["linear_maps"] == ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]


@pytest.mark.parametrize(
    ("layers", "targets", "expected"),
    [
        (
            {"intervention.layer": [0], "intervention.operations.sweep": [1, 99]},
            [],
            r"sweep: \[99\], but tiny-llama .* 3",
        ),
        ({}, ["q_proj", "query"], r"lora\.targets: \['query'\], but the linear maps of tiny-llama are \['down_proj'"),
    ],
)
def test_what_it_lacks_is_named_with_what_there_is(backbone, tmp_path, layers, targets, expected):
    with pytest.raises(ArtifactError, match=expected):
        check_settings(backbone, tmp_path / "checked.json", layers=layers, targets=targets)
    assert not (tmp_path / "checked.json").exists()
