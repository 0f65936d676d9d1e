"""Encoder features computed when a batch asks for them, for training sets whose cache would not fit the disk."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from workflow_scripts.artifacts import hdf5
from workflow_scripts.artifacts.features import FeatureReader
from workflow_scripts.artifacts.files import ArtifactError, read_json
from workflow_scripts.speech_lm.protocol import SAMPLE_RATE
from workflow_scripts.speech_lm.shard_queries import AudioFiles
from workflow_scripts.speech_lm.trainable.encoder import WhisperFeatures, frame_count


class Features(Protocol):
    """Encoder output of utterances by id: read from a file (`FeatureReader`) or computed (`OnlineFeatures`)."""

    width: int

    def __contains__(self, name: str) -> bool: ...

    def frames(self, name: str) -> int:
        """Encoder frames of an id."""
        ...

    def __getitem__(self, name: str) -> np.ndarray:
        """Features of an id, float32 (frames, d_enc)."""
        ...

    def several(self, names: Sequence[str]) -> list[np.ndarray]:
        """Features of several ids, in their order."""
        ...


class OnlineFeatures:
    """Features of a manifest's kept utterances by the frozen encoder, without gradient, a batch at a time.

    They are rounded to bfloat16 as a file of features rounds them, so that training sees the same numbers up to the
    order of summation in the encoder.

    Raises:
        ArtifactError: the folder is no encoder; an audio file is missing or damaged.
    """

    def __init__(self, manifest: Path, encoder: Path, window_seconds: float) -> None:
        self._audio = AudioFiles(manifest)
        self._folder, self._window = Path(encoder), window_seconds
        config = read_json(self._folder / "config.json", "fetching the encoder")
        if "d_model" not in config:
            raise ArtifactError(f"{self._folder}/config.json has no d_model: not a Whisper encoder; fetch it again")
        self.width: int = config["d_model"]

    @cached_property
    def _encoder(self) -> WhisperFeatures:
        """Loaded at the first batch, when the process knows its GPU."""
        return WhisperFeatures(self._folder, window_seconds=self._window)

    def __contains__(self, name: str) -> bool:
        return name in self._audio.seconds

    def frames(self, name: str) -> int:
        """Encoder frames of an id, from the manifest."""
        return frame_count(round(self._audio.seconds[name] * SAMPLE_RATE))

    def __getitem__(self, name: str) -> np.ndarray:
        """Features of an id, float32 (frames, d_enc)."""
        return self.several([name])[0]

    def several(self, names: Sequence[str]) -> list[np.ndarray]:
        """Features of several ids, encoded together."""
        found = self._encoder.encode([self._audio.speech(name).waveform for name in names])
        return [hdf5.bfloat16_to_float32(hdf5.float32_to_bfloat16(one.float().numpy())) for one in found]


def _cached(features: Path, *_: Any) -> Features:
    return FeatureReader(features)


def _online(_: None, manifest: Path, encoder: Path | None, window_seconds: float | None) -> Features:
    if encoder is None or window_seconds is None:
        raise ArtifactError("training.features is online, but there is no encoder or no speech.window_seconds")
    return OnlineFeatures(manifest, encoder, window_seconds)


FEATURES: Mapping[str, Callable[..., Features]] = {"cached": _cached, "online": _online}
"""By what `training.features` came to: training on a file does not depend on the encoder's code."""


def open_features(
    features: Path | None, manifest: Path, encoder: Path | None, window_seconds: float | None
) -> Features:
    """The cached features, or without a file those that the encoder computes.

    Raises:
        ArtifactError: neither a file nor an encoder and its window is given.
    """
    return FEATURES["online" if features is None else "cached"](features, manifest, encoder, window_seconds)
