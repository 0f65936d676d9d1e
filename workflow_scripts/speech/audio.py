"""Audio files of the speech stage: 16 kHz mono FLAC with 16 bits, checked before they are written and when read."""

import io
import math
import re
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
from scipy.signal import resample_poly

from workflow_scripts.artifacts.files import ArtifactError, one_of_many

SAMPLE_RATE = 16_000
SILENT = 1e-4
"""Peak amplitude (full scale 1) below which audio counts as silent; one step of 16 bits is 3e-5."""

_WAV_SIZES = re.compile(r"^data : (\d+) \(should be (\d+)\)", re.MULTILINE)
"""What libsndfile notes about a WAV file whose header and content differ in size."""
_STREAMED = 0x7FFF0000
"""Sizes from here on stand for "unknown" in the headers of programs that stream."""


class BadAudioError(ValueError):
    """Audio that cannot be used; the message is the reason that is recorded with the dropped question."""


def read_source(source: Path | BinaryIO, name: str | None = None) -> tuple[np.ndarray, int]:
    """Samples, float32 (n,) or (n, channels), and rate in Hz of audio from elsewhere, in any format libsndfile reads.

    Args:
        source: a file, or one held in memory. name: how messages call it; default: its path.

    Raises:
        BadAudioError: unreadable, or shorter than its header says (the library alone would read what is left of it);
            names the file.
    """
    name = name or str(source)
    try:
        with soundfile.SoundFile(source) as file:
            samples, rate, announced, facts = file.read(dtype="float32"), file.samplerate, file.frames, file.extra_info
    except (soundfile.LibsndfileError, OSError) as error:
        raise BadAudioError(f"{name} cannot be read ({error}); it is damaged or no audio file") from None
    sizes = _WAV_SIZES.search(facts)
    wanted, found = (int(size) for size in sizes.groups()) if sizes else (announced, len(samples))
    if found < wanted < _STREAMED:
        unit = "bytes" if sizes else "frames"
        raise BadAudioError(f"{name} is cut off: {found} of {wanted} {unit} of audio are there")
    return samples, rate


def prepare(samples: np.ndarray, rate: int, *, max_seconds: float) -> np.ndarray:
    """Mono float32 audio at 16 kHz from what an engine gave: (n,) or (n, channels) at any rate.

    Channels are averaged; the rate is changed by a polyphase filter; peaks above full scale scale the whole utterance
    down, so that nothing is clipped.

    Raises:
        BadAudioError: no samples, an impossible rate, not finite, silent, or longer than `max_seconds`.
    """
    if rate < 1:
        raise BadAudioError(f"the audio has a sample rate of {rate} Hz")
    samples = np.asarray(samples, dtype=np.float64)
    if samples.ndim == 2:
        samples = samples.mean(axis=1)
    if samples.ndim != 1 or samples.size == 0:
        raise BadAudioError("the audio has no samples")
    if not np.isfinite(samples).all():
        raise BadAudioError("the audio has NaN or infinite samples")
    seconds = samples.size / rate
    if seconds > max_seconds:
        raise BadAudioError(f"the audio lasts {seconds:.2f} s, longer than speech.max_seconds = {max_seconds:g} s")
    peak = float(np.abs(samples).max())
    if peak < SILENT:
        raise BadAudioError(f"the audio is silent (peak {peak:.1e} of full scale)")
    if rate != SAMPLE_RATE:
        common = math.gcd(rate, SAMPLE_RATE)
        samples = resample_poly(samples, SAMPLE_RATE // common, rate // common)
        samples = samples[: int(max_seconds * SAMPLE_RATE)]  # rounding up may add one sample
        peak = float(np.abs(samples).max())
    return (samples / max(peak, 1.0)).astype(np.float32)


def write_flac(path: Path, samples: np.ndarray) -> None:
    """Write 16 kHz mono audio as 16-bit FLAC, atomically."""
    # Through memory: the library itself reports a full disk as "System error", or not at all.
    encoded = io.BytesIO()
    soundfile.write(encoded, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    with one_of_many(path) as temporary:
        temporary.write_bytes(encoded.getvalue())


def read_flac(path: Path, seconds: float | None = None) -> np.ndarray:
    """Samples, float32 (n,), of a file written by write_flac.

    Args:
        seconds: length by the manifest; the file must have it.

    Raises:
        ArtifactError: missing, unreadable, cut off, not 16 kHz mono, or of another length; names the file and the
            remedy.
    """
    check_flac(path, seconds)
    try:
        samples, _ = soundfile.read(path, dtype="float32")
    except soundfile.LibsndfileError as error:
        raise ArtifactError(f"{path}: cannot be read ({error}); {_remedy(path)}") from None
    return samples


def check_flac(path: Path, seconds: float | None = None) -> int:
    """Samples of a file by its header; arguments and errors as in read_flac, but the content is not decoded."""
    try:
        facts = soundfile.info(path)
    except (soundfile.LibsndfileError, OSError) as error:
        raise ArtifactError(f"{path}: cannot be read ({error}); {_remedy(path)}") from None
    if facts.samplerate != SAMPLE_RATE or facts.channels != 1:
        found = f"{facts.samplerate} Hz with {facts.channels} channel(s)"
        raise ArtifactError(f"{path}: {found}, expected 16000 Hz mono; {_remedy(path)}")
    if seconds is not None and facts.frames != round(seconds * SAMPLE_RATE):
        raise ArtifactError(f"{path}: {facts.duration:.3f} s long, the manifest says {seconds:.3f} s; {_remedy(path)}")
    return facts.frames


def _remedy(path: Path) -> str:
    """Audio and its file name come from the synthesis.jsonl beside its folder, which may be what is damaged."""
    return f"delete {Path(path).parent.parent / 'synthesis.jsonl'} and run again"
