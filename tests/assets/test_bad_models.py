"""Bad input to a public model's entry: one clear message with the remedy when its weights are fetched, before any job.

The same checks run in the rule `fetch_asset`, which has priority over everything else that is ready.
"""

import json

import pytest
import torch
import transformers
from httpx2 import Request, Response
from huggingface_hub import errors

from tests.public_study import entry, save_tiny
from tests.speech_lm.tiny_models import TEXT
from tests.speech_lm.tiny_processor import make_tokenizer
from workflow_scripts.assets.backbone import check_public
from workflow_scripts.assets.errors import AssetError, DiskFullError
from workflow_scripts.assets.fetch_asset import fetch_asset
from workflow_scripts.assets.folder_sources import fetch_hub_files, hub_remedy, require_disk
from workflow_scripts.settings.assets import AssetSettings, HubSource
from workflow_scripts.speech_lm.opening.open_model import ModelSource, open_model

torch.set_num_threads(1)
REQUEST = Request("GET", "https://hub.invalid/org/name")


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("good") / "weights")


@pytest.fixture
def changeable(good, tmp_path):
    """A copy of the good folder that a test may spoil."""
    folder = tmp_path / "weights"
    folder.mkdir()
    for file in good.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def fetch(folder, target, **changes):
    settings = {"format": "transformers", "licence": "test", "sources": [{"path": str(folder)}]}
    checked = {"speech_seconds": 4, **entry(**changes)}
    fetch_asset("weights", AssetSettings.model_validate(settings), target / "weights", models=[checked])


def reason(folder, target, **changes):
    with pytest.raises(AssetError) as error:
        fetch(folder, target / "resources", **changes)
    assert not (target / "resources" / "weights" / "asset.json").exists()
    return str(error.value)


def test_a_good_folder_is_fetched(good, tmp_path):
    fetch(good, tmp_path)
    assert (tmp_path / "weights" / "asset.json").exists()


def test_a_text_only_checkpoint_under_hf(tmp_path):
    folder = tmp_path / "text"
    transformers.LlamaForCausalLM(transformers.LlamaConfig(**TEXT)).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    found = reason(folder, tmp_path)
    assert "'llama' is a text-only language model; under family hf a model must hear by itself" in found
    assert "make it the `backbone` of a composite model" in found


def test_a_model_that_is_no_speech_language_model(tmp_path):
    folder = tmp_path / "whisper"
    small = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "vocab_size": 320, "pad_token_id": 0}
    config = transformers.WhisperConfig(**small, **heads, decoder_start_token_id=1, bos_token_id=1, eos_token_id=2)
    transformers.WhisperForConditionalGeneration(config).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    assert "'whisper' is an encoder-decoder model" in reason(folder, tmp_path)


def test_missing_processor_files(changeable, tmp_path):
    for name in ("processor_config.json", "preprocessor_config.json"):
        (changeable / name).unlink(missing_ok=True)
    found = reason(changeable, tmp_path)
    assert "has no processor (processor_config.json or preprocessor_config.json)" in found
    assert "complete `files` of the source" in found


def test_remote_code_without_permission(changeable, tmp_path):
    config = json.loads((changeable / "config.json").read_text())
    config |= {"model_type": "home_made_audio", "auto_map": {"AutoModel": "modeling.Home"}}
    (changeable / "config.json").write_text(json.dumps(config))
    (changeable / "modeling.py").write_text("raise SystemExit('remote code was run')")
    found = reason(changeable, tmp_path)
    assert "brings code of its own (AutoModel), which is not run" in found
    assert "models.tiny-public.trust_remote_code: true" in found


def test_kinds_that_the_family_cannot_serve_are_named_with_the_reason(changeable, tmp_path):
    transformers.VoxtralRealtimeConfig().save_pretrained(changeable)
    found = reason(changeable, tmp_path)
    assert "'voxtral_realtime' is not supported by family hf: it adds audio to text embeddings" in found
    assert "adapter class" in found


def test_a_model_that_only_runs_whole_is_fetched_and_said_to_be_left_out(changeable, monkeypatch, caplog):
    from workflow_scripts.speech_lm.families import hf_folder

    check_public({**entry(), "speech_seconds": 4}, changeable)
    assert "left out" not in caplog.text
    monkeypatch.setattr(hf_folder, "runs_from_embeddings", lambda _: False)
    check_public({**entry(), "speech_seconds": 4}, changeable)
    assert "tiny-public only runs as a whole: it is measured, and left out of the interventions" in caplog.text


def test_a_model_type_that_nobody_knows(changeable, tmp_path):
    config = json.loads((changeable / "config.json").read_text()) | {"model_type": "home_made_audio"}
    (changeable / "config.json").write_text(json.dumps(config))
    assert "'home_made_audio' is unknown to transformers" in reason(changeable, tmp_path)


def test_a_class_that_transformers_does_not_have(good, tmp_path):
    assert "has no class 'Qwen9Audio'" in reason(good, tmp_path, **{"class": "Qwen9Audio"})


def test_an_adapter_that_cannot_be_imported_or_is_no_class(good, tmp_path):
    base = {**entry(), "family": "adapter", "options": {}, "speech_seconds": 4}
    settings = {"format": "transformers", "licence": "test", "sources": [{"path": str(good)}]}
    for adapter, expected in (
        ("no_such_package.module:Class", r"models\.tiny-public\.adapter: 'no_such_package\.module' cannot be imported"),
        ("json:Nothing", "module 'json' has no class 'Nothing'"),
    ):
        with pytest.raises(AssetError, match=expected):
            asset = AssetSettings.model_validate(settings)
            fetch_asset("weights", asset, tmp_path / "weights", models=[{**base, "adapter": adapter}])


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (errors.RepositoryNotFoundError("404", response=Response(404, request=REQUEST)), "check the name"),
        (errors.GatedRepoError("403", response=Response(403, request=REQUEST)), "accept the model's terms"),
        (errors.RevisionNotFoundError("404", response=Response(404, request=REQUEST)), "check the revision"),
        (errors.LocalEntryNotFoundError("no connection"), "check the network"),
        (errors.OfflineModeIsEnabled("offline"), "HF_HUB_OFFLINE is set: fill the cache first"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_every_way_the_hub_fails_has_its_own_remedy(error, remedy, tmp_path, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)

    def failing(*_args, **_kwargs):
        raise error

    assert hub_remedy(error).startswith(remedy)
    source = HubSource(hub="org/name", revision="main")
    with pytest.raises(AssetError, match=f"hub repository org/name, revision main: .*Remedy: {remedy}"):
        fetch_hub_files(source, "transformers", tmp_path, failing)


def test_a_revision_that_moved_is_refused_until_the_study_names_a_commit(good, tmp_path):
    settings = {"format": "transformers", "licence": "test", "sources": [{"hub": "org/name", "revision": "main"}]}
    asset = AssetSettings.model_validate(settings)

    def at(commit):
        folder = tmp_path / "cache" / commit
        folder.mkdir(parents=True, exist_ok=True)
        for file in good.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        return lambda *_args, **_kwargs: str(folder)

    old, new = "a" * 40, "b" * 40
    target = tmp_path / "resources" / "weights"
    fetch_asset("weights", asset, target, snapshot=at(old))
    (target / "asset.json").unlink()  # as the workflow does before it runs the rule again
    with pytest.raises(AssetError, match=f"'main' moved from commit {old} to {new}. Set `revision: {old}`"):
        fetch_asset("weights", asset, target, snapshot=at(new))
    pinned = AssetSettings.model_validate({**settings, "sources": [{"hub": "org/name", "revision": new}]})
    assert fetch_asset("weights", pinned, target, snapshot=at(new)).source.commit == new


def test_a_download_larger_than_the_disk_is_refused_before_it_starts(tmp_path):
    source = HubSource(hub="org/name", revision="main")
    with pytest.raises(DiskFullError, match=r"org/name.* needs 9000000\.00 GB"):
        fetch_hub_files(source, "files", tmp_path, lambda *_, **__: pytest.fail("started"), lambda *_: 9 * 10**15)
    require_disk("x", None, tmp_path)


def test_a_folder_in_the_hubs_cache_layout_is_fetched_offline_and_opened(good, tmp_path, monkeypatch):
    """The whole path from `hub` to a checked model, with the hub's own client on a local cache."""
    import huggingface_hub.constants as constants

    commit = "c" * 40
    repository = tmp_path / "hub" / "models--org--tiny-audio"
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    for file in good.iterdir():
        (snapshot / file.name).write_bytes(file.read_bytes())
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    source = {"hub": "org/tiny-audio", "revision": "main"}
    asset = AssetSettings.model_validate({"format": "transformers", "licence": "test", "sources": [source]})
    checked = {"speech_seconds": 4, **entry()}
    from huggingface_hub import snapshot_download

    def cached(*arguments, **options):
        return snapshot_download(*arguments, cache_dir=str(tmp_path / "hub"), **options)

    record = fetch_asset("weights", asset, tmp_path / "weights", snapshot=cached, models=[checked])
    assert record.source.commit == commit
    opened = open_model(ModelSource(tmp_path / "weights" / "asset.json", "final", entry()))
    assert opened.facts["backbone_revision"] == f"org/tiny-audio@{commit}"
