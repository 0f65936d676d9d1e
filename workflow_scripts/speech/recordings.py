"""Audio that came with a data set or lies in a folder, in whatever form: bytes, a path, an array, a decoder.

`datasets` up to 3 gives `{"array", "sampling_rate"}`, from 4 on a decoder object, and stores `{"bytes", "path"}`
(huggingface/datasets#7798); a parquet file may also hold bytes or a path alone. Nothing is resampled here.
"""

import io
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from workflow_scripts.speech.audio import BadAudioError, read_source

SUFFIXES = (".flac", ".wav", ".ogg", ".opus", ".mp3", ".aiff", ".aif", ".au", ".caf", ".w64")
"""Files that libsndfile reads, in the order in which they are looked for."""


def decode_audio(value: Any, folder: Path, name: str) -> tuple[np.ndarray, int]:
    """Samples, float32 (n,) or (n, channels), and rate in Hz.

    Args:
        value: bytes of an audio file, a path, `{"bytes", "path"}`, `{"array", "sampling_rate"}`, or an object with
            `get_all_samples()` (`.data` (channels, n), `.sample_rate`).
        folder: what a relative path starts at. name: of the recording, for messages.

    Raises:
        BadAudioError: none of these forms, a missing file, or audio that cannot be read.
    """
    if isinstance(value, Mapping):
        if value.get("array") is not None:
            return _array(value["array"], value.get("sampling_rate"), name)
        value = value.get("bytes") or value.get("path")
        if isinstance(value, str) and not stays_inside(value):
            raise BadAudioError(f"{name}: path {value!r} leaves the folder of its data set")
    if isinstance(value, bytes | bytearray | memoryview):
        return read_source(io.BytesIO(bytes(value)), name)
    if isinstance(value, str | Path) and str(value):
        path = Path(folder) / value
        if not path.is_file():
            raise BadAudioError(f"{path} does not exist")
        return read_source(path)
    if hasattr(value, "get_all_samples"):
        decoded = value.get_all_samples()
        samples = np.asarray(decoded.data)
        return _array(samples.T if samples.ndim == 2 else samples, decoded.sample_rate, name)
    raise BadAudioError(f"{name}: {type(value).__name__} is no audio; expected bytes, a path, an array or a decoder")


def stays_inside(path: str) -> bool:
    """Whether a path that a data set names is relative and without `..`."""
    pure = PurePosixPath(path)
    return not pure.is_absolute() and ".." not in pure.parts and "\\" not in path


def find_recording(folder: Path, name: str) -> Path | None:
    """`{folder}/{name}` with the first suffix of `SUFFIXES` that exists."""
    return next((path for suffix in SUFFIXES if (path := Path(folder) / f"{name}{suffix}").is_file()), None)


def _array(samples: Any, rate: Any, name: str) -> tuple[np.ndarray, int]:
    found = np.asarray(samples, dtype=np.float32)
    if not isinstance(rate, int | float | np.integer) or rate < 1:
        raise BadAudioError(f"{name}: an array of samples needs its sampling_rate in Hz, got {rate!r}")
    if found.ndim == 2 and found.shape[0] < found.shape[1]:
        found = found.T  # (channels, n)
    return found, int(rate)
