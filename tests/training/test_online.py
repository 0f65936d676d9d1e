"""Training with features computed in every step: the same numbers as with cached ones; what decides between them."""

import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

from workflow_scripts.artifacts.features import FeatureReader, write_features
from workflow_scripts.artifacts.files import ArtifactError, sha256_file
from workflow_scripts.artifacts.tables import read_table
from workflow_scripts.artifacts.utterances import UTTERANCES
from workflow_scripts.planning.books import Books
from workflow_scripts.planning.online import DECIDED, features_bytes, features_online
from workflow_scripts.settings import read_study
from workflow_scripts.speech_lm.trainable.encoder import WhisperFeatures
from workflow_scripts.training.online import OnlineFeatures, open_features
from workflow_scripts.training.train_model import train_model

ROOT = Path(__file__).parents[2]
WINDOW = 2.0


@pytest.fixture(scope="module")
def spoken(make_instructions, tmp_path_factory):
    """Instructions with audio beside the manifest, a tiny encoder, and its features in the file."""
    folder = tmp_path_factory.mktemp("spoken")
    made = make_instructions(folder)
    encoder = folder / "whisper"
    torch.manual_seed(1)
    shape = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "vocab_size": 64}
    special = {"pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0, "decoder_start_token_id": 1}
    WhisperForConditionalGeneration(WhisperConfig(**shape, **heads, **special)).save_pretrained(encoder)
    WhisperFeatureExtractor().save_pretrained(encoder)
    rng = np.random.default_rng(2)
    rows, waveforms = [], []
    for row in UTTERANCES.read(made.manifest):
        samples = (0.1 * rng.standard_normal(round(16_000 * row.seconds))).astype(np.float32)
        path = folder / f"{row.id}.flac"
        soundfile.write(path, samples, 16_000)
        waveforms.append(soundfile.read(path, dtype="float32")[0])
        rows.append(row.model_copy(update={"audio": path.name, "sha256": sha256_file(path)}))
    UTTERANCES.write(made.manifest, rows, {})
    blocks = [one.float().numpy() for one in WhisperFeatures(encoder, window_seconds=WINDOW).encode(waveforms)]
    ids, seconds = [row.id for row in rows], [row.seconds for row in rows]
    write_features(made.features, ids, seconds, [len(one) for one in blocks], 16, enumerate(blocks), {})
    return made, encoder


def test_features_computed_online_are_those_of_the_file(spoken):
    made, encoder = spoken
    cached, online = FeatureReader(made.features), OnlineFeatures(made.manifest, encoder, WINDOW)
    assert online.width == cached.width == 16
    assert [online.frames(name) for name in cached.ids] == [cached.frames(name) for name in cached.ids]
    for one, other in zip(cached.several(cached.ids), online.several(cached.ids)):
        np.testing.assert_allclose(one, other, rtol=2e-2, atol=2e-2)
    assert "nobody" not in online and cached.ids[0] in online


def test_training_online_has_the_losses_of_training_on_cached_features(spoken, recipe, model_entry, tmp_path):
    made, encoder = spoken
    curves = {}
    for kind, features in (("cached", made.features), ("online", None)):
        folder = tmp_path / kind
        train_model(
            made.questions, made.manifest, features, made.answers, made.backbone, None,
            folder / "checkpoints.json", folder / "log.csv",
            name="tiny", model=model_entry(), recipe=recipe(checkpoint_steps=[0, 2]), system_prompt=None,
            encoder=encoder, window_seconds=WINDOW,
        )  # fmt: skip
        curves[kind] = read_table(folder / "log.csv", "training_log")["loss_per_token"].to_numpy(float)
    cached, online = (curves[kind][np.isfinite(curves[kind])] for kind in ("cached", "online"))
    assert len(cached) > 1
    np.testing.assert_allclose(online, cached, rtol=1e-3)


def test_audio_that_is_gone_or_another_one_is_named_when_it_is_needed(spoken, tmp_path):
    made, encoder = spoken
    shutil.copytree(made.manifest.parent, tmp_path / "copy")
    manifest = tmp_path / "copy" / made.manifest.name
    first, second = FeatureReader(made.features).ids[:2]
    (manifest.parent / f"{first}.flac").unlink()
    shutil.copy(manifest.parent / f"{second}.flac", manifest.parent / "train-00002.flac")
    online = OnlineFeatures(manifest, encoder, WINDOW)
    for name in (first, "train-00002"):
        with pytest.raises(ArtifactError, match=rf"{name}\.flac"):
            online[name]
    with pytest.raises(ArtifactError, match="no encoder"):
        open_features(None, manifest, None, None)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ArtifactError, match="not a Whisper encoder"):
        OnlineFeatures(manifest, tmp_path, WINDOW)


def decided(config, free, monkeypatch):
    monkeypatch.delenv(DECIDED, raising=False)
    monkeypatch.setattr("shutil.disk_usage", lambda _: namedtuple("Disk", "total used free")(2 * free, free, free))
    return features_online(config, Books(config))


def test_auto_keeps_features_that_fit_and_stays_with_what_was_chosen(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    config = read_study(ROOT, [])
    assert features_online(config, Books(config))[0] is False, "cached is the default"
    training = config.training.model_copy(update={"features": "auto"})
    config = config.model_copy(update={"training": training})
    needed = features_bytes(config, Books(config))
    assert 2.1e9 < needed < 3.5e9, "6,060 prompts of 9.1 s (15.4 hours, 2.8 GB, measured), 512 numbers a frame"
    assert decided(config, 4 * needed, monkeypatch)[0] is False
    online, why = decided(config, needed, monkeypatch)
    assert online and f"{needed / 1e9:.1f} GB" in why
    monkeypatch.setenv(DECIDED, "cached")
    assert features_online(config, Books(config))[0] is False, "jobs of the run decide as it did"
    Path("results/speech/heart/instructions").mkdir(parents=True)
    Path("results/speech/heart/instructions/whisper-base.features.h5").touch()
    assert decided(config, needed, monkeypatch)[0] is False, "they are there already"
    shutil.rmtree("results")
    Path("results/training/any").mkdir(parents=True)
    Path("results/training/any/checkpoints.json").touch()
    assert decided(config, 100 * needed, monkeypatch)[0] is True, "trained without them: more disk trains nothing again"
    monkeypatch.delenv(DECIDED, raising=False)
