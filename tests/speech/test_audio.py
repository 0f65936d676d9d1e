"""Audio checks: what is refused and why, resampling against a known tone, and files that read back."""

import numpy as np
import pytest
import soundfile

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.speech.audio import SAMPLE_RATE, BadAudioError, prepare, read_flac, read_source, write_flac


def tone(hertz: float, rate: int, seconds: float = 0.5, peak: float = 0.5) -> np.ndarray:
    return peak * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 24_000, 44_100])
def test_a_tone_stays_the_same_tone_at_16_khz(rate: int) -> None:
    found = prepare(tone(440, rate), rate, max_seconds=30)
    assert found.dtype == np.float32
    assert len(found) == pytest.approx(0.5 * SAMPLE_RATE, abs=1)
    inner = slice(500, -500)  # the filter rings at both ends
    np.testing.assert_allclose(found[inner], tone(440, SAMPLE_RATE)[: len(found)][inner], atol=5e-3)


def test_channels_are_averaged_and_peaks_scaled_not_clipped() -> None:
    stereo = np.stack([tone(300, SAMPLE_RATE), -tone(300, SAMPLE_RATE, peak=0.1)], axis=1)
    np.testing.assert_allclose(prepare(stereo, SAMPLE_RATE, max_seconds=9), stereo.mean(axis=1), atol=1e-6)
    loud = tone(300, SAMPLE_RATE, peak=4)
    np.testing.assert_allclose(prepare(loud, SAMPLE_RATE, max_seconds=9), loud / np.abs(loud).max(), atol=1e-6)


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (np.zeros(0), "no samples"),
        (np.zeros((0, 2)), "no samples"),
        (np.zeros(1600), "silent"),
        (np.full(1600, 9e-5), "silent"),
        (np.array([0.1, np.nan]), "NaN"),
        (np.ones(32_001), r"lasts 2\.00 s, longer than speech\.max_seconds = 2 s"),
    ],
)
def test_unusable_audio_is_refused_with_its_reason(samples: np.ndarray, reason: str) -> None:
    with pytest.raises(BadAudioError, match=reason):
        prepare(samples, SAMPLE_RATE, max_seconds=2)


def test_an_impossible_rate_is_refused() -> None:
    with pytest.raises(BadAudioError, match="sample rate of 0 Hz"):
        prepare(tone(440, SAMPLE_RATE), 0, max_seconds=2)


@pytest.mark.parametrize(("name", "subtype"), [("a.wav", "PCM_16"), ("a.wav", "FLOAT"), ("a.flac", "PCM_16")])
@pytest.mark.parametrize("share", [0.0, 0.002, 0.5, 0.99])
def test_a_file_that_was_cut_off_is_refused_by_name_never_read_in_part(tmp_path, name, subtype, share) -> None:
    path = tmp_path / name
    noisy = tone(440, 22_050) + np.random.default_rng(0).normal(size=11_025) * 0.05
    soundfile.write(path, noisy, 22_050, subtype=subtype)
    assert (len(read_source(path)[0]), read_source(path)[1]) == (11_025, 22_050)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(BadAudioError, match=rf"{name} (cannot be read|is cut off)"):
        read_source(path)


def test_a_streamed_header_that_gives_no_length_is_accepted(tmp_path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(440, SAMPLE_RATE), SAMPLE_RATE)
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = b"\xff" * 4
    path.write_bytes(data)
    assert len(read_source(path)[0]) == SAMPLE_RATE // 2


def test_audio_of_exactly_the_limit_passes_at_any_rate() -> None:
    for rate in (16_000, 22_050, 44_100):
        assert len(prepare(tone(200, rate, seconds=2), rate, max_seconds=2)) == 2 * SAMPLE_RATE


def test_files_read_back_within_16_bits_and_have_equal_bytes(tmp_path) -> None:
    samples = tone(440, SAMPLE_RATE).astype(np.float32)
    for name in ("a.flac", "b.flac"):
        write_flac(tmp_path / name, samples)
    np.testing.assert_allclose(read_flac(tmp_path / "a.flac"), samples, atol=2**-15)
    assert (tmp_path / "a.flac").read_bytes() == (tmp_path / "b.flac").read_bytes()
    assert soundfile.info(tmp_path / "a.flac").subtype == "PCM_16"


def test_damaged_or_foreign_files_are_named(tmp_path) -> None:
    (tmp_path / "bad.flac").write_bytes(b"fLaC")
    soundfile.write(tmp_path / "fast.flac", tone(440, 24_000), 24_000)
    for name in ("bad.flac", "fast.flac", "absent.flac"):
        with pytest.raises(ArtifactError, match=name):
            read_flac(tmp_path / name)
