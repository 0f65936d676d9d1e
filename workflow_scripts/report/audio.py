"""Recorded questions as data URIs, small enough to carry several dozen in one page."""

import base64
import io
import math
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import resample_poly

from workflow_scripts.artifacts.files import ArtifactError

RATE = 16_000
"""Samples per second; what speech encoders hear."""
COMPRESSION = 0.9
"""libsndfile's scale from 0 (largest) to 1; 0.9 gives 24 kbit/s at this rate, about 3 kB a second."""


def mp3_uri(path: Path) -> str:
    """`data:audio/mpeg;base64,...` of an audio file, mixed to mono at 16 kHz.

    Raises:
        ArtifactError: the file is missing, unreadable or empty; names it and the remedy.
    """
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        raise ArtifactError(f"{path}: cannot be read as audio ({error}); run the speech stage again") from error
    if not len(samples):
        raise ArtifactError(f"{path}: holds no samples; run the speech stage again")
    mono = samples.mean(axis=1)
    if rate != RATE:
        shared = math.gcd(rate, RATE)
        mono = resample_poly(mono, RATE // shared, rate // shared)
    packed = io.BytesIO()
    soundfile.write(
        packed,
        np.clip(mono, -1, 1),
        RATE,
        format="MP3",
        subtype="MPEG_LAYER_III",
        bitrate_mode="CONSTANT",
        compression_level=COMPRESSION,
    )
    return f"data:audio/mpeg;base64,{base64.b64encode(packed.getvalue()).decode('ascii')}"
