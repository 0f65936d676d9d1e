"""Checkpoint folders: what is saved comes back, what is damaged is named."""

import json
import warnings

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.speech_lm.families.composite import load_composite
from workflow_scripts.speech_lm.opening.check_decoder import check_decoder
from workflow_scripts.speech_lm.protocol import Speech, SpeechLMError
from workflow_scripts.speech_lm.trainable.adapters import AdapterShape, SpeechAdapter
from workflow_scripts.speech_lm.trainable.checkpoint import load_backbone, load_lslm, read_info, save_lslm
from workflow_scripts.speech_lm.trainable.lora import LoraSettings, attach_lora
from workflow_scripts.speech_lm.trainable.lslm import LSLM

SHAPE = AdapterShape(d_encoder=16, d_hidden=24, d_model=32, stack=4, activation="gelu")
FACTS = {"encoder": {"window_seconds": 2}, "warmup": "none"}


def trained(backbone_folder, strategy):
    """An LSLM whose every trainable number differs from its start."""
    model = load_backbone(backbone_folder)
    model.requires_grad_(strategy == "full")
    if strategy == "lora":
        model = attach_lora(model, LoraSettings(r=4, alpha=8, targets=("q_proj", "down_proj")), seed=0)
    torch.manual_seed(7)
    lslm = LSLM(model, SpeechAdapter(SHAPE))
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for parameter in lslm.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return lslm.eval()


def logits(lslm):
    features = torch.randn(1, 12, 16, generator=torch.Generator().manual_seed(9))
    mask = torch.zeros(1, 8, dtype=torch.bool)
    mask[0, 2:5] = True
    with torch.no_grad():
        return lslm(torch.arange(8)[None], None, features, torch.tensor([12]), mask).logits


@pytest.mark.parametrize("strategy", ["adapter", "lora", "full"])
@pytest.mark.parametrize("options", [{"merge": True}, {"merge": False}, {"trainable": True}])
def test_a_saved_model_comes_back(backbone_folder, tmp_path, strategy, options):
    lslm = trained(backbone_folder, strategy)
    save_lslm(tmp_path / "step-000010", lslm, step=10, seed=3, facts=FACTS)
    loaded = load_lslm(tmp_path / "step-000010", backbone_folder, **options)
    assert loaded.training == options.get("trainable", False)
    is_lora = strategy == "lora"
    assert isinstance(loaded.language_model, PeftModel) == (is_lora and not options.get("merge", False))
    gradients = {name for name, p in loaded.named_parameters() if p.requires_grad}
    expected = {name for name, p in lslm.named_parameters() if p.requires_grad} if "trainable" in options else set()
    assert gradients == expected
    found = logits(loaded.eval())
    if is_lora and options.get("merge"):
        torch.testing.assert_close(found, logits(lslm), rtol=1e-4, atol=1e-4)
    else:
        assert torch.equal(found, logits(lslm))
    distance = float((found - logits(LSLM(load_backbone(backbone_folder), lslm.adapter))).abs().max())
    assert distance == 0 if strategy == "adapter" else distance > 0.1


@pytest.mark.parametrize("strategy", ["adapter", "lora", "full"])
def test_facts_come_back_and_nothing_but_safetensors_and_json_is_written(backbone_folder, tmp_path, strategy):
    info = save_lslm(tmp_path, trained(backbone_folder, strategy), step=10, seed=3, facts=FACTS)
    assert read_info(tmp_path) == info
    assert (info.strategy, info.step, info.seed, info.facts, info.adapter) == (strategy, 10, 3, FACTS, SHAPE)
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    weights = {
        "adapter": set(),
        "lora": {"lora/adapter_config.json", "lora/adapter_model.safetensors"},
        "full": {"model.safetensors"},
    }
    assert files == {"lslm.json", "adapter.safetensors"} | weights[strategy]
    for path in tmp_path.rglob("*.json"):
        assert str(backbone_folder) not in path.read_text()


def test_saving_twice_gives_the_same_bytes(backbone_folder, tmp_path):
    for name in ("a", "b"):
        save_lslm(tmp_path / name, trained(backbone_folder, "lora"), step=1, seed=0, facts=FACTS)
    for path in (tmp_path / "a").rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


def test_full_weights_can_be_stored_in_half_the_size(backbone_folder, tmp_path):
    lslm = trained(backbone_folder, "full")
    save_lslm(tmp_path / "f32", lslm, step=1, seed=0, facts={})
    save_lslm(tmp_path / "bf16", lslm, step=1, seed=0, facts={}, dtype=torch.bfloat16)
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("f32", "bf16")]
    assert sizes[1] < 0.6 * sizes[0]
    loaded = load_lslm(tmp_path / "bf16", backbone_folder)
    weight = lslm.language_model.lm_head.weight
    assert torch.equal(loaded.language_model.lm_head.weight, weight.to(torch.bfloat16).float())


def test_an_interrupted_save_leaves_no_readable_checkpoint(backbone_folder, tmp_path, monkeypatch):
    lslm = trained(backbone_folder, "lora")
    save_lslm(tmp_path, lslm, step=1, seed=0, facts={})
    monkeypatch.setattr("workflow_scripts.speech_lm.trainable.checkpoint.save_file", _full_disk)
    with pytest.raises(OSError, match="planted"):
        save_lslm(tmp_path, lslm, step=2, seed=0, facts={})
    with pytest.raises(FileNotFoundError, match=r"lslm.json is missing: the checkpoint is incomplete"):
        load_lslm(tmp_path, tmp_path)
    assert not list(tmp_path.rglob("*.tmp"))


def _full_disk(tensors, path, metadata):
    path.write_bytes(b"half")
    raise OSError("planted: no space left")


def break_record(folder, **changes):
    path = folder / "lslm.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_damaged_or_foreign_files_are_named(backbone_folder, tmp_path):
    save_lslm(tmp_path, trained(backbone_folder, "lora"), step=1, seed=0, facts={})
    weights = tmp_path / "lora" / "adapter_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SpeechLMError, match=r"lora/adapter_model.safetensors is damaged"):
        load_lslm(tmp_path, backbone_folder)
    weights.write_bytes(whole)
    config = weights.with_name("adapter_config.json")
    text = config.read_text()
    config.write_text(text[: len(text) // 2])
    with pytest.raises(ArtifactError, match=r"lora/adapter_config.json: damaged .*the training step"):
        load_lslm(tmp_path, backbone_folder)
    config.write_text(text)
    break_record(tmp_path, adapter={**SHAPE.to_dict(), "d_hidden": 25})
    with pytest.raises(SpeechLMError, match=r"adapter.safetensors does not fit this model.*\(25, 64\)"):
        load_lslm(tmp_path, backbone_folder)
    break_record(tmp_path, schema={"name": "lslm", "version": 99})
    with pytest.raises(SpeechLMError, match="'version': 99"):
        load_lslm(tmp_path, backbone_folder)
    (tmp_path / "lslm.json").write_text("{")
    with pytest.raises(SpeechLMError, match=r"lslm.json is damaged"):
        load_lslm(tmp_path, backbone_folder)


def test_a_checkpoint_of_another_backbone_is_refused(backbone_folder, new_backbone, tmp_path):
    save_lslm(tmp_path / "lora", trained(backbone_folder, "lora"), step=1, seed=0, facts={})
    save_lslm(tmp_path / "full", trained(backbone_folder, "full"), step=1, seed=0, facts={})
    new_backbone("llama", num_hidden_layers=3).save_pretrained(tmp_path / "other")
    for strategy in ("lora", "full"):
        with pytest.raises(SpeechLMError, match="another backbone"):
            load_lslm(tmp_path / strategy, tmp_path / "other")


def test_the_backbone_alone_is_nothing_to_save_and_a_missing_one_is_named(backbone_folder, tmp_path):
    with pytest.raises(ValueError, match="nothing to save"):
        save_lslm(tmp_path, LSLM(load_backbone(backbone_folder), None), step=0, seed=0, facts={})
    with pytest.raises(FileNotFoundError, match="fetch the language model asset"):
        load_backbone(tmp_path / "nowhere")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("strategy", [None, "adapter", "lora", "full"])
def test_a_loaded_speech_lm_passes_its_self_check_and_answers(
    backbone_folder, whisper_folder, tmp_path, strategy, dtype
):
    checkpoint = None
    if strategy:
        checkpoint = tmp_path / "step-000001"
        save_lslm(checkpoint, trained(backbone_folder, strategy), step=1, seed=0, facts={})
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        lm = load_composite(
            backbone=backbone_folder,
            checkpoint=checkpoint,
            encoder=whisper_folder,
            device="cpu",
            dtype=dtype,
            window_seconds=1,
        )
    check_decoder(lm)
    assert lm.name == (checkpoint or backbone_folder).name
    queries = [lm.encode_text("what is the water")]
    if strategy:
        waveform = 0.1 * torch.randn(11_000, generator=torch.Generator().manual_seed(1)).numpy()
        queries.append(lm.encode_speech(Speech(waveform, 16_000, 11_000 / 16_000)))
        assert queries[1].span[1] - queries[1].span[0] == 9  # 35 frames, 4 at a time
    assert [len(a.token_ids) for a in lm.generate(queries, max_new_tokens=4, stop_ids=[])] == [4] * len(queries)
    assert all(s.dtype == getattr(torch, dtype) for s in lm.states(queries))


def test_a_backbone_that_does_not_fit_is_refused_before_loading_with_numbers(backbone_folder, monkeypatch):
    monkeypatch.setattr("workflow_scripts.speech_lm.memory.free_bytes", lambda *_, **__: (10**5, "cpu"))
    count = sum(p.numel() for p in AutoModelForCausalLM.from_pretrained(backbone_folder).parameters())
    with pytest.raises(SpeechLMError, match=rf"{count / 1e6:,.0f} million parameters x 4 bytes .* free on cpu: 0"):
        load_backbone(backbone_folder)
