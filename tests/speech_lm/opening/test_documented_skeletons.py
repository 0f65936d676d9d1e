"""What docs/add-a-model.md shows is run: both skeletons of a user-defined class, and a new family by its four steps."""

import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from workflow_scripts.assets.fetch_asset import fetch_asset
from workflow_scripts.settings.assets import AssetSettings
from workflow_scripts.speech_lm.families.adapter import check_adapter, open_adapter
from workflow_scripts.speech_lm.opening.folder_checks import FolderFacts
from workflow_scripts.speech_lm.opening.model_checks import run_checks
from workflow_scripts.speech_lm.protocol import ModelFolders, ScoringRequest, SpeechLMError

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs" / "add-a-model.md"
BLOCK = re.compile(r'```python\n("""(\w+)\.py:.*?)```', flags=re.DOTALL)
SKELETONS = {name: source for source, name in BLOCK.findall(DOCS.read_text(encoding="utf-8"))}


@pytest.fixture
def importable(tmp_path, monkeypatch):
    """Writes a module where it can be imported; gives the name."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(name, source):
        (tmp_path / f"{name}.py").write_text(source)
        importlib.invalidate_caches()
        sys.modules.pop(name, None)
        return name

    return write


def entry(adapter, **options):
    return {"name": "mine", "family": "adapter", "adapter": adapter, "options": options}


@pytest.mark.parametrize(("module", "kind"), [("my_model", "MyModel"), ("plain_model", "PlainModel")])
def test_a_skeleton_passes_every_check_and_answers(module, kind, importable, backbone_folder):
    settings = entry(f"{importable(module, SKELETONS[module])}:{kind}")
    check_adapter(backbone_folder, settings)
    options = {"device": torch.device("cpu"), "dtype": torch.float32, "system_prompt": None}
    lm = open_adapter(ModelFolders(backbone_folder), settings, **options)
    failed = [result for result in run_checks(lm) if not result.passed]
    assert not failed, failed
    request = ScoringRequest("b", ("a", "bb"))
    ((answer, (scores,)),) = lm.generate_and_score([lm.encode_text("what")], [[request]], max_new_tokens=3)
    assert len(answer.token_ids) <= 3 and len(scores.texts) == 2 and scores.reference.n_tokens == 1


@pytest.mark.parametrize(
    ("edit", "options", "expected"),
    [
        (("def answer_loss", "def loss_of"), {}, "plain_model:PlainModel has no method answer_loss; derive it"),
        (("class PlainModel(SpeechLM)", "class PlainModel"), {}, "plain_model:PlainModel is no SpeechLM"),
        (("queries, *, edits=None, layers=None", "queries"), {}, "PlainModel.states does not take edits, layers, as"),
        ((", system_prompt,", ","), {}, "got an unexpected keyword argument 'system_prompt'"),
        ((" ", " "), {"depth": 4}, "got an unexpected keyword argument 'depth'; correct its arguments or models.mine"),
    ],
)
def test_what_a_class_lacks_is_named_when_its_weights_are_fetched(edit, options, expected, importable, tmp_path):
    module = importable("plain_model", SKELETONS["plain_model"].replace(*edit))
    with pytest.raises(SpeechLMError, match=expected):
        check_adapter(tmp_path, entry(f"{module}:PlainModel", **options))


@pytest.mark.parametrize(("skeleton", "name", "editable"), [("plain_model", "Plain", False), ("my_model", "My", True)])
def test_whether_a_class_can_be_edited_is_known_before_it_is_loaded(skeleton, name, editable, importable, tmp_path):
    settings = entry(f"{importable(skeleton, SKELETONS[skeleton])}:{name}Model")
    assert check_adapter(tmp_path, settings) == FolderFacts(editable=editable)


def test_an_attribute_that_is_not_set_is_named_when_the_model_is_opened(importable, tmp_path):
    source = SKELETONS["plain_model"].replace("self.final_norm = ", "norm = ")
    settings = entry(f"{importable('plain_model', source)}:PlainModel")
    options = {"device": torch.device("cpu"), "dtype": torch.float32, "system_prompt": None}
    with pytest.raises(SpeechLMError, match="plain_model:PlainModel sets no final_norm"):
        open_adapter(ModelFolders(tmp_path), settings, **options)


SETTINGS = """
from typing import ClassVar, Literal

from pydantic import Field

from workflow_scripts.settings.families.public import PublicModel


class ToyModel(PublicModel):
    family: Literal["toy"] = Field(description="A toy.")
"""
OPENER = """

def open_toy(folders, entry, *, device, dtype, system_prompt):
    return MyModel(folders.weights, name=entry["name"], device=device, dtype=dtype, system_prompt=system_prompt)
"""
REGISTERED = (
    'FAMILIES = {\n    "toy": Family(settings=ToyModel, opener="workflow_scripts.speech_lm.families.toy:open_toy"),'
)


def test_a_new_family_is_its_two_files_and_one_entry(tmp_path, backbone_folder):
    """In a copy of the checkout, as a newcomer would: then its model passes every check from the command line."""
    shutil.copytree(
        ROOT / "workflow_scripts", tmp_path / "workflow_scripts", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("assets.yaml", "config.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    package = tmp_path / "workflow_scripts"
    (package / "settings" / "families" / "toy.py").write_text(SETTINGS)
    (package / "speech_lm" / "families" / "toy.py").write_text(SKELETONS["my_model"] + OPENER)
    registry = package / "settings" / "models.py"
    text = registry.read_text().replace("FAMILIES = {", REGISTERED)
    first = "from workflow_scripts.settings.families.units"
    registry.write_text(text.replace(first, f"from workflow_scripts.settings.families.toy import ToyModel\n{first}"))
    (tmp_path / "study.yaml").write_text(
        yaml.safe_dump({"models": {"tiny": {"family": "toy", "path": str(backbone_folder)}}})
    )
    asset = AssetSettings.model_validate(
        {"format": "transformers", "licence": "test", "sources": [{"path": str(backbone_folder)}]}
    )
    fetch_asset("tiny.weights", asset, tmp_path / "resources" / "tiny.weights")
    command = [sys.executable, "-m", "workflow_scripts.check_model", "tiny", "--configfile", "study.yaml"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "tiny: LlamaForCausalLM as MyModel" in run.stdout and "FAILED" not in run.stdout
