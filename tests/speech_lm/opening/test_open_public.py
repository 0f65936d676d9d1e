"""The other public families from folder to checked model: units behind HuBERT, and a third-party class."""

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf
from safetensors.torch import save_file

from tests.public_study import entry, save_tiny
from tests.speech_lm.tiny_models import TEXT, UNITS
from tests.speech_lm.tiny_processor import make_tokenizer
from workflow_scripts.assets.fetch_asset import fetch_asset
from workflow_scripts.settings.assets import AssetSettings
from workflow_scripts.settings.families.adapter import AdapterModel
from workflow_scripts.settings.families.units import UnitsModel
from workflow_scripts.speech_lm.families.hf import open_hf
from workflow_scripts.speech_lm.families.speech_units import HubertUnits
from workflow_scripts.speech_lm.families.units import UnitsSpeechLM
from workflow_scripts.speech_lm.opening.model_checks import clip
from workflow_scripts.speech_lm.opening.open_model import ModelSource, open_model
from workflow_scripts.speech_lm.protocol import ModelFolders, SpeechLMError

torch.set_num_threads(1)
HUBERT = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "conv_dim": (8, 8),
    "conv_stride": (16, 20),
    "conv_kernel": (16, 20),
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
}


def fetched(source: Path, target: Path, format: str = "transformers") -> Path:
    settings = {"format": format, "licence": "test", "sources": [{"path": str(source)}]}
    fetch_asset(target.name, AssetSettings.model_validate(settings), target)
    return target / "asset.json"


@pytest.fixture(scope="module")
def hubert_folder(tmp_path_factory):
    """A random HuBERT of 50 frames a second with eight of its own frames as centroids."""
    folder = tmp_path_factory.mktemp("source") / "hubert"
    torch.manual_seed(6)
    model = hf.HubertModel(hf.HubertConfig(**HUBERT)).eval()
    model.save_pretrained(folder)
    with torch.no_grad():
        audio = torch.from_numpy(clip(1.0).waveform)[None]
        hidden = model(audio, output_hidden_states=True).hidden_states[1][0]
    save_file({"centroids": hidden[::6][:8].contiguous()}, folder / "centroids.safetensors")
    return folder


@pytest.fixture(scope="module")
def units_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source") / "units"
    torch.manual_seed(0)
    hf.AutoModelForCausalLM.from_config(hf.LlamaConfig(**TEXT)).save_pretrained(folder)
    make_tokenizer(UNITS).save_pretrained(folder)
    return folder


def units_entry(**changes):
    settings = {
        "family": "units",
        "path": "x",
        "dtype": "float32",
        "unit_token": "<|audio_{}|>",
        "begin": "<|begin|>",
        "end": "<|end|>",
        "quantizer": "hubert-units",
        "quantizer_layer": 1,
        **changes,
    }
    return {"name": "tiny-units", **UnitsModel.model_validate(settings).model_dump(mode="json")}


def test_a_frames_unit_is_the_nearest_centroid_of_the_chosen_layer(hubert_folder):
    units = HubertUnits.from_folder(hubert_folder, 1, torch.device("cpu"))
    assert units.rate == 50.0
    found = units(clip(1.0).waveform)
    with torch.no_grad():
        audio = torch.from_numpy(clip(1.0).waveform)[None]
        hidden = units.model(audio, output_hidden_states=True).hidden_states[1][0]
    distances = ((hidden[:, None] - units.centroids[None]) ** 2).sum(dim=-1)
    assert found.tolist() == distances.argmin(dim=1).tolist()
    assert found[:48:6].tolist() == list(range(8)), "the centroids are frames of this very clip"
    with pytest.raises(SpeechLMError, match=r"quantizer_layer is 3, this HuBERT has layers 1 \.\. 2"):
        HubertUnits.from_folder(hubert_folder, 3, torch.device("cpu"))


def test_a_units_model_is_opened_from_its_folder_with_its_quantizer(units_folder, hubert_folder, tmp_path):
    weights = fetched(units_folder, tmp_path / "tiny-units.weights")
    quantizer = fetched(hubert_folder, tmp_path / "hubert-units", "files")
    opened = open_model(ModelSource(weights, "final", units_entry(merge_repeats=False), quantizer=quantizer))
    assert isinstance(opened.lm, UnitsSpeechLM)
    query = opened.lm.encode_speech(clip(1.0))
    ids = query.inputs["input_ids"][0].tolist()
    names = opened.lm.tokenizer.convert_ids_to_tokens(ids)
    units = opened.lm.quantizer(clip(1.0).waveform)
    assert names[query.span[0] - 1] == "<|begin|>" and names[query.span[1]] == "<|end|>"
    assert names[slice(*query.span)] == [f"<|audio_{unit}|>" for unit in units]
    assert opened.facts["checkpoint"] == "final" and opened.facts["family"] == "units"


def test_a_prompt_of_ones_own_frames_both_forms_alike(units_folder, hubert_folder, tmp_path):
    weights = fetched(units_folder, tmp_path / "tiny-units.weights")
    quantizer = fetched(hubert_folder, tmp_path / "hubert-units", "files")
    public = units_entry(prompt="user {query} <|im_end|> assistant: ", merge_repeats=False)
    lm = open_model(ModelSource(weights, "final", public, quantizer=quantizer)).lm
    written, spoken = lm.encode_text("the river"), lm.encode_speech(clip(0.5))
    decoded = lm.tokenizer.decode(written.inputs["input_ids"][0])
    assert decoded == "user the river <|im_end|> assistant: "
    start, end = written.span
    n_before, n_after = len(lm.template.ids[0]), len(lm.template.ids[1])
    assert (start, written.length - end) == (n_before, n_after)
    assert (spoken.span[0], spoken.length - spoken.span[1]) == (n_before + 1, n_after + 1)
    with pytest.raises(SpeechLMError, match="write it into `prompt`"):
        open_model(ModelSource(weights, "final", public, system_prompt="Be short.", quantizer=quantizer))


class OwnFamily:
    """Stands for a researcher's class: an own way to load, the inherited way to measure."""

    def __new__(cls, folder, *, name, device, dtype, system_prompt, **options):
        assert options == {"window": 4}
        return open_hf(
            ModelFolders(folder), {**entry(), "name": name}, device=device, dtype=dtype, system_prompt=system_prompt
        )


class NoFamily:
    """Something else altogether."""

    def __init__(self, *_args, **_kwargs):
        self.name = "x"


def adapter_entry(name):
    settings = {"family": "adapter", "path": "x", "dtype": "float32", "options": {"window": 4}}
    settings["adapter"] = f"{__name__}:{name}"
    return {"name": "mine", **AdapterModel.model_validate(settings).model_dump(mode="json")}


def test_a_third_party_class_is_imported_checked_and_named_in_errors(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or __import__(__name__))
    weights = fetched(save_tiny(tmp_path / "source"), tmp_path / "mine.weights")
    opened = open_model(ModelSource(weights, "final", adapter_entry("OwnFamily")))
    assert opened.lm.name == "mine" and opened.facts["family"] == "adapter"
    assert np.isfinite(opened.lm.answer_loss([opened.lm.encode_speech(clip(0.5))], ["a"])[0].nll)
    with pytest.raises(
        SpeechLMError, match=r"models\.mine\.adapter: .*:NoFamily gives a NoFamily, which is no SpeechLM"
    ):
        open_model(ModelSource(weights, "final", adapter_entry("NoFamily")))
