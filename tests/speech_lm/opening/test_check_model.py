"""`python -m workflow_scripts.check_model <entry>` prints every check of a config's model."""

import shutil
from pathlib import Path

import pytest
import yaml

from tests.public_study import entry, save_tiny
from tests.tiny_study import write_tiny_study
from workflow_scripts.assets.fetch_asset import fetch_asset
from workflow_scripts.check_model import main, read_study
from workflow_scripts.settings.assets import AssetSettings
from workflow_scripts.speech_lm.opening.model_checks import CHECKS

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A checkout with the default config, a tiny public model fetched, and a study that names it."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("assets.yaml", "config.yaml"):
        shutil.copy(ROOT / name, folder / name)
    weights = save_tiny(folder / "weights")
    source = {"path": str(weights)}
    settings = AssetSettings.model_validate({"format": "transformers", "licence": "test", "sources": [source]})
    fetch_asset(
        "tiny.weights", settings, folder / "resources" / "tiny.weights", models=[{"speech_seconds": 4, **entry()}]
    )
    models = {"tiny": {"family": "hf", "path": str(weights), "dtype": "float32"}}
    models["absent"] = {"family": "hf", "path": "nowhere"}
    (folder / "study.yaml").write_text(yaml.safe_dump({"models": models}))
    return folder


def test_the_table_holds_every_check_and_the_confounds(root, capsys):
    assert main(["tiny", "--configfile", str(root / "study.yaml")], root) == 0
    printed = capsys.readouterr().out
    assert "tiny: Qwen2AudioForConditionalGeneration as HfSpeechLM, torch.float32" in printed
    assert all(f"| {check} " in printed for check in CHECKS)
    assert "FAILED" not in printed
    assert "template confound: only before speech: 'Audio 1: <|audio_bos|>'" in printed


def test_a_failed_check_shows_in_the_table_and_in_the_exit_status(root, capsys, monkeypatch):
    monkeypatch.setitem(CHECKS, "text span", lambda lm: (_ for _ in ()).throw(KeyError("planted")))
    monkeypatch.setattr("workflow_scripts.check_model.confounds", lambda _: pytest.fail("a model that does not work"))
    capsys.readouterr()
    assert main(["tiny", "--configfile", str(root / "study.yaml")], root) == 1
    assert "| FAILED | KeyError: 'planted' |" in capsys.readouterr().out


def test_what_is_missing_is_named_with_the_command_that_makes_it(root, capsys):
    study = ["--configfile", str(root / "study.yaml")]
    assert main(["absent", *study], root) == 1
    assert "snakemake --cores 1 resources/absent.weights/asset.json" in capsys.readouterr().err
    assert main(["tinny", *study], root) == 1
    assert "models has no entry 'tinny'; did you mean 'tiny'?" in capsys.readouterr().err


def test_studies_are_merged_as_the_workflow_merges_them():
    config = read_study(ROOT, [ROOT / "studies" / "public_models.yaml"])
    assert "coder-lora" not in config.models and "qwen2-audio.weights" in config.assets


def test_own_checkpoints_are_checked_with_their_encoder(root, whisper_folder, capsys):
    """A composite model by path: backbone and encoder as assets, weights in a folder of their own."""
    study = write_tiny_study(root / "own")
    assets = {}
    for name, source in (("own-llama", study.backbone.parent), ("own-whisper", whisper_folder)):
        target = root / "resources" / name
        target.mkdir()
        for file in Path(source).iterdir():
            shutil.copy(file, target / file.name)
        shutil.copy(study.backbone, target / "asset.json")
        assets[name] = {"format": "transformers", "licence": "test", "sources": [{"path": str(source)}]}
    models = {
        "own": {"family": "checkpoints", "folder": str(study.model.parent), "steps": [3], "backbone": "own-llama"}
    }
    models["own"] |= {"encoder": "own-whisper", "strategy": "lora", "warmup": "none"}
    (root / "own.yaml").write_text(yaml.safe_dump({"assets": assets, "models": models}))
    status = main(["own", "--configfile", str(root / "own.yaml")], root)
    printed = capsys.readouterr().out
    assert status == 0, printed
    assert "own/step-000003: LlamaForCausalLM as CompositeSpeechLM" in printed
    assert "10.0 positions per second, padding trimmed" in printed
