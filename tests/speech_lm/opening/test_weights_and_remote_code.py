"""Weights that do not fit are refused by name, and no folder's own code is run without the entry's word."""

import ast
import json
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.public_study import entry, save_tiny
from workflow_scripts.assets.backbone import check_backbone
from workflow_scripts.speech_lm.families.hf import open_hf
from workflow_scripts.speech_lm.protocol import ModelFolders, SpeechLMError
from workflow_scripts.speech_lm.trainable.checkpoint import load_backbone

ROOT = Path(__file__).parents[3]
PLACED = {"device": torch.device("cpu"), "dtype": torch.float32, "system_prompt": None}


def rewrite(folder, change):
    """Apply a change to the folder's tensors."""
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


def renamed(tensors):
    return {name.replace(".layers.", ".blocks."): tensor for name, tensor in tensors.items()}


def test_decoder_layers_under_other_names_are_an_error_that_names_the_first(tmp_path):
    folder = save_tiny(tmp_path / "weights")
    rewrite(folder, renamed)
    with pytest.raises(SpeechLMError, match=r"tiny-public: .* has no tensor model\.audio_tower\.layers\.0\."):
        open_hf(ModelFolders(folder), entry(), **PLACED)


def test_a_tensor_that_the_model_has_no_place_for_is_named_and_can_be_allowed_by_name(tmp_path):
    folder = save_tiny(tmp_path / "weights")
    rewrite(folder, lambda tensors: tensors | {"talker.voice": torch.ones(2), "talker.tone": torch.ones(2)})
    with pytest.raises(SpeechLMError, match=r"a tensor talker\.tone without a place in Qwen2Audio"):
        open_hf(ModelFolders(folder), entry(), **PLACED)
    with pytest.raises(SpeechLMError, match=r"a tensor talker\.voice without a place"):
        open_hf(ModelFolders(folder), entry(allowed_tensors=["talker.tone"]), **PLACED)
    open_hf(ModelFolders(folder), entry(allowed_tensors=["talker.*"]), **PLACED)


def test_a_tensor_of_another_shape_is_named(tmp_path):
    folder = save_tiny(tmp_path / "weights")
    rewrite(folder, lambda tensors: tensors | {"language_model.model.norm.weight": torch.ones(5)})
    with pytest.raises(SpeechLMError, match=r"tensor .*language_model.*norm\.weight of shape \(5,\), not \(32,\)"):
        open_hf(ModelFolders(folder), entry(), **PLACED)


def test_a_backbone_with_missing_layers_is_refused(tmp_path, new_backbone):
    new_backbone("llama").save_pretrained(tmp_path)
    load_backbone(tmp_path)
    rewrite(tmp_path, renamed)
    with pytest.raises(SpeechLMError, match=r"has no tensor model\.layers\.0\."):
        load_backbone(tmp_path)


# --- code that comes with a folder ---------------------------------------------------------------------------------


@pytest.fixture
def trapped(tmp_path, new_backbone, tokenizer, monkeypatch):
    """A backbone whose tokenizer and config bring code; gives the folder and the file that this code writes."""
    folder, ran = tmp_path / "trap", tmp_path / "ran"
    new_backbone("llama").save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "trap.py").write_text(f"open({str(ran)!r}, 'w')\nclass Trap: pass\n")
    for name, key in (("tokenizer_config.json", "AutoTokenizer"), ("config.json", "AutoModelForCausalLM")):
        content = json.loads((folder / name).read_text())
        content["auto_map"] = {key: ["trap.Trap", "trap.Trap"] if key == "AutoTokenizer" else "trap.Trap"}
        if key == "AutoTokenizer":
            content["tokenizer_class"] = "Trap"
        (folder / name).write_text(json.dumps(content))
    monkeypatch.setattr("builtins.input", lambda *_: "yes")
    return folder, ran


def test_code_of_a_backbones_folder_is_not_run_whatever_stdin_says(trapped):
    folder, ran = trapped
    for step in (lambda: check_backbone("trap", folder, 300), lambda: load_backbone(folder)):
        with suppress(ValueError, RuntimeError, OSError):  # refused, or loaded by transformers' own classes
            step()
        assert not ran.exists()


def test_every_loader_says_whether_code_of_the_folder_may_run():
    """`Auto...` classes, and classes chosen at run time, ask on stdin unless they are told."""
    silent = []
    for path in sorted((ROOT / "workflow_scripts").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            owner = ast.unparse(node.func.value)
            loads = node.func.attr in ("from_pretrained", "from_config")
            fixed = owner.rpartition(".")[2][:1].isupper() and not owner.rpartition(".")[2].startswith("Auto")
            said = {word.arg: ast.unparse(word.value) for word in node.keywords}
            if loads and (said.get("trust_remote_code") == "True" or (not fixed and "trust_remote_code" not in said)):
                silent.append(f"{path.relative_to(ROOT)}:{node.lineno}: {owner}.{node.func.attr}")
    assert not silent, f"say trust_remote_code=False: {silent}"
