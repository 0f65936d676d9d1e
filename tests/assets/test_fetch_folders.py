"""Sources that are folders (model hub, local path), the check of model folders, and the record file."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models

from workflow_scripts.artifacts.asset_record import read_asset_record
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.assets.errors import AssetError
from workflow_scripts.assets.fetch_asset import fetch_asset
from workflow_scripts.assets.model_folder import read_model_folder
from workflow_scripts.settings.assets import AssetSettings

COMMIT = "c" * 40


def settings(source, format="transformers"):
    return AssetSettings.model_validate({"format": format, "licence": "MIT", "sources": [source]})


@pytest.fixture
def model_folder(tmp_path):
    """A model folder in a place that looks like the hub's cache: named after its commit."""
    folder = tmp_path / "cache" / COMMIT
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": 5}))
    Tokenizer(models.WordLevel({"a": 0, "b": 1, "c": 2}, unk_token="a")).save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"pad_token": {"content": "c"}}))
    arrays = {"x": np.zeros((3, 4), np.float16), "y": np.zeros(7, np.float32)}
    save_file(arrays, folder / "model.safetensors")
    return folder


class FakeHub:
    """Stands for snapshot_download: answers with a folder and keeps what it was asked."""

    def __init__(self, folder):
        self.folder, self.asked = folder, None

    def __call__(self, repository, **asked):
        self.asked = {"repository": repository} | asked
        return str(self.folder)


HUB = {"hub": "org/name", "revision": "main"}


def test_hub_model_is_linked_and_its_commit_and_facts_recorded(tmp_path, model_folder, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret-of-the-test")
    hub = FakeHub(model_folder)
    record = fetch_asset("asset", settings(HUB), tmp_path / "asset", snapshot=hub)
    assert hub.asked["repository"] == "org/name" and hub.asked["revision"] == "main"
    assert hub.asked["token"] == "secret-of-the-test"
    assert {"*.bin", "consolidated*.safetensors"} <= set(hub.asked["ignore_patterns"])
    assert (record.source.revision, record.source.commit) == ("main", COMMIT)
    assert (record.model_type, record.vocab_size, record.tokenizer_size) == ("llama", 5, 3)
    assert (record.n_parameters, record.dtypes) == (19, ["F16", "F32"])
    assert (record.has_chat_template, record.pad_token) == (False, "c")
    assert "secret-of-the-test" not in (tmp_path / "asset" / "asset.json").read_text()
    assert sorted(record.files) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_fetching_from_the_hub_again_leaves_the_cache_and_no_temporary_files(tmp_path, model_folder):
    for _ in range(2):
        fetch_asset("asset", settings(HUB), tmp_path / "asset", snapshot=FakeHub(model_folder))
    assert sorted(p.name for p in model_folder.iterdir()) == sorted(
        p.name for p in (tmp_path / "asset").iterdir() if p.name != "asset.json"
    )


def test_repository_with_pickles_only_is_refused(tmp_path, model_folder):
    (model_folder / "model.safetensors").rename(model_folder / "pytorch_model.bin")
    with pytest.raises(AssetError, match=r"org/name, revision main has no \*\.safetensors .*pickles"):
        fetch_asset("asset", settings(HUB), tmp_path / "asset", snapshot=FakeHub(model_folder))


def test_hub_errors_name_repository_and_remedy(tmp_path, monkeypatch):
    def absent(repository, **_):
        raise ConnectionError("no route")

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with pytest.raises(AssetError, match=r"org/name, revision main: ConnectionError: no route.*check the network"):
        fetch_asset("asset", settings(HUB), tmp_path / "asset", snapshot=absent)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(AssetError, match="fill the cache first"):
        fetch_asset("asset", settings(HUB), tmp_path / "asset", snapshot=absent)


def test_a_source_may_have_another_format_than_the_asset(tmp_path, model_folder):
    source = HUB | {"format": "transformers"}
    asset = settings(source, format="ctranslate2_whisper")
    record = fetch_asset("asset", asset, tmp_path / "asset", snapshot=FakeHub(model_folder))
    assert (record.format, record.source.format, record.originals) == ("transformers", "transformers", {})


def test_local_folder_keeps_its_layout_and_its_own_files(tmp_path):
    start = tmp_path / "start"
    (start / "sub").mkdir(parents=True)
    (start / "sub" / "a.txt").write_text("a")
    (start / ".hidden").write_text("no")
    asset = settings({"path": str(start)}, format="files")
    for _ in range(2):
        record = fetch_asset("asset", asset, tmp_path / "asset")
    assert list(record.files) == ["sub/a.txt"]
    assert (start / "sub" / "a.txt").read_text() == (tmp_path / "asset" / "sub" / "a.txt").read_text() == "a"


def test_fetched_folder_can_be_the_source_of_another_asset(tmp_path):
    (tmp_path / "a.txt").write_text("a")
    first = settings({"path": str(tmp_path / "a.txt")}, format="files")
    fetch_asset("first", first, tmp_path / "first")
    record = fetch_asset("second", settings({"path": str(tmp_path / "first")}, format="files"), tmp_path / "second")
    assert list(record.files) == ["a.txt"]
    assert read_asset_record(tmp_path / "first").name == "first"
    assert read_asset_record(tmp_path / "second") == record


def test_local_file_with_another_hash_or_missing_is_named(tmp_path):
    (tmp_path / "a.txt").write_text("a")
    for listed in ("a.txt", "b.txt"):
        asset = settings({"path": str(tmp_path / "a.txt"), "sha256": {listed: "0" * 64}}, format="files")
        with pytest.raises(AssetError, match=rf"file {listed}"):
            fetch_asset("asset", asset, tmp_path / "asset")


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("config.json", r"config\.json is missing"),
        ("model.safetensors", r"no \*\.safetensors"),
        ("tokenizer.json", "no tokenizer"),
    ],
)
def test_incomplete_model_folder_is_refused(model_folder, file, message):
    (model_folder / file).unlink()
    with pytest.raises(AssetError, match=message):
        read_model_folder(model_folder)


def test_tokenizer_that_does_not_fit_is_reported(model_folder, caplog):
    read_model_folder(model_folder)
    assert not caplog.records
    (model_folder / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": 2}))
    read_model_folder(model_folder)
    assert "3 ids but the model 2 embeddings" in caplog.text


def test_vocabulary_of_a_multimodal_model_is_that_of_its_text_part(model_folder):
    for text_config, expected in (({"vocab_size": 9}, 9), (None, None)):
        config = {"model_type": "qwen2_audio", "text_config": text_config}
        (model_folder / "config.json").write_text(json.dumps(config))
        assert read_model_folder(model_folder).vocab_size == expected


def test_missing_shard_and_truncated_weights_are_refused(model_folder):
    index = model_folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"x": "model.safetensors", "z": "model-2.safetensors"}}))
    with pytest.raises(AssetError, match=r"model-2\.safetensors"):
        read_model_folder(model_folder)
    index.unlink()
    weights = model_folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(AssetError, match="truncated"):
        read_model_folder(model_folder)


def test_chat_template_is_seen_in_either_place(model_folder):
    (model_folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    assert read_model_folder(model_folder).has_chat_template
    (model_folder / "tokenizer_config.json").unlink()
    assert not read_model_folder(model_folder).has_chat_template
    (model_folder / "chat_template.jinja").write_text("{{ messages }}")
    assert read_model_folder(model_folder).has_chat_template


def test_record_reader_names_missing_damaged_and_changed_files(tmp_path):
    (tmp_path / "a.txt").write_text("abc")
    target = tmp_path / "asset"
    with pytest.raises(ArtifactError, match=r"asset\.json"):
        read_asset_record(target)
    fetch_asset("asset", settings({"path": str(tmp_path / "a.txt")}, format="files"), target)
    (target / "a.txt").unlink()
    with pytest.raises(ArtifactError, match=r"a\.txt is missing"):
        read_asset_record(target)
    (target / "a.txt").write_text("longer text")
    with pytest.raises(ArtifactError, match=r"has 11 bytes, .* says 3"):
        read_asset_record(target)
    record = json.loads((target / "asset.json").read_text())
    (target / "asset.json").write_text(json.dumps(record | {"schema": {"name": "asset", "version": 2}}))
    with pytest.raises(ArtifactError, match="no asset record of version 1"):
        read_asset_record(target)
