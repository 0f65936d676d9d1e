"""Whisper's encoder at its own and at shorter lengths."""

import numpy as np
import pytest
import torch
from transformers import WhisperFeatureExtractor, WhisperModel

from workflow_scripts.speech_lm.trainable.encoder import WhisperFeatures, frame_count

RATE = 16_000


def tone(seconds, pitch=220.0):
    time = np.arange(round(seconds * RATE)) / RATE
    return (0.3 * np.sin(2 * np.pi * pitch * time)).astype(np.float32)


def encoder(folder, **options):
    return WhisperFeatures(folder, device="cpu", dtype="float32", **options)


def test_a_window_of_30_seconds_equals_transformers_encoder(whisper_folder):
    own = WhisperModel.from_pretrained(whisper_folder).encoder.eval()
    mel = WhisperFeatureExtractor.from_pretrained(whisper_folder)(tone(1.3), sampling_rate=RATE, return_tensors="pt")
    with torch.no_grad():
        expected = own(mel["input_features"]).last_hidden_state[0, :65]
    (features,) = encoder(whisper_folder).encode([tone(1.3)])
    torch.testing.assert_close(features, expected, rtol=1e-5, atol=1e-5)


def test_a_short_window_equals_the_layers_run_by_hand_on_the_short_input(whisper_folder):
    own = WhisperModel.from_pretrained(whisper_folder).encoder.eval()
    padded = np.pad(tone(2.4), (0, round(1.6 * RATE)))
    mel = WhisperFeatureExtractor.from_pretrained(whisper_folder)(
        padded, sampling_rate=RATE, return_tensors="pt", max_length=4 * RATE
    )["input_features"]
    own.config.max_source_positions = 200
    own.embed_positions = torch.nn.Embedding.from_pretrained(own.embed_positions.weight[:200])
    with torch.no_grad():
        expected = own(mel).last_hidden_state[0, :120]
    (features,) = encoder(whisper_folder, window_seconds=2).encode([tone(2.4)])
    torch.testing.assert_close(features, expected, rtol=1e-5, atol=1e-5)


def test_waveforms_of_any_mixture_of_lengths_come_back_in_order(whisper_folder):
    features = encoder(whisper_folder, window_seconds=1, batch_size=2)
    waveforms = [tone(s, 100 + 50 * i) for i, s in enumerate((0.7, 2.01, 0.3, 0.9, 1.0, 0.02))]
    together = features.encode(waveforms)
    assert [len(f) for f in together] == [35, 101, 15, 45, 50, 1]
    for waveform, row in zip(waveforms, together):
        torch.testing.assert_close(row, features.encode([waveform])[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("samples", "frames"), [(1, 1), (320, 1), (321, 2), (16_000, 50), (480_000, 1500)])
def test_frames_cover_the_real_audio(samples, frames):
    assert frame_count(samples) == frames


def test_audio_the_encoder_cannot_take_is_refused_and_never_cut(whisper_folder):
    features = encoder(whisper_folder)
    with pytest.raises(ValueError, match=r"waveform 1 is 30.50 s long.*at most 30 s"):
        features.encode([tone(1), tone(30.5)])
    with pytest.raises(ValueError, match="8000 samples per second"):
        features.encode([tone(1)], rate=8000)
    with pytest.raises(ValueError, match="at least one sample"):
        features.encode([tone(0)])
    with pytest.raises(ValueError, match="must be mono"):
        features.encode([tone(1)[:, None]])
    with pytest.raises(ValueError, match="NaN"):
        features.encode([np.full(400, np.nan, dtype=np.float32)])
    assert len(features.encode([tone(30)])[0]) == 1500


@pytest.mark.parametrize("window", [0, 31, 0.03])
def test_windows_that_hold_no_whole_frames_or_more_than_whisper_are_refused(whisper_folder, window):
    with pytest.raises(ValueError, match=f"encoder window is {window} s"):
        encoder(whisper_folder, window_seconds=window)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere/config.json is missing: fetch"):
        encoder(tmp_path / "nowhere")
