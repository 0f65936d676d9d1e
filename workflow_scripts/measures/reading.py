"""How the paper's open choices are read: which layers are averaged, and which frame of a column makes the path.

The paper (arXiv 2510.12116) averages Sim and APS over layers and takes the best speech frame of each text token. It
says neither whether layer 0, the embeddings, takes part, nor what the other direction would give. `READING` is what is
used everywhere; sensitivity.csv shows the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np


@dataclass(frozen=True)
class Reading:
    """Choices that the paper leaves open.

    layers     of states 0 .. L, those that a mean over layers takes: `1..L`, `0..L`, or the last one, `L`
    direction  of the path: the best frame of each text token, the best token of each frame, or only the pairs that are
               each other's best
    """

    layers: Literal["1..L", "0..L", "L"] = "1..L"
    direction: Literal["text to frame", "frame to text", "mutual best"] = "text to frame"


READING = Reading()
"""The reading of every number unless it says otherwise."""


def averaged_layers(depth: int, kept: Sequence[int] | None = None, reading: Reading = READING) -> list[int]:
    """Layers of 0 .. L, depth = L + 1, that a mean takes; with `kept` (`activations.layers`), those among them."""
    first = {"1..L": 1, "0..L": 0, "L": depth - 1}[reading.layers]
    return [layer for layer in range(first, depth) if kept is None or layer in kept]


def mean_over_layers(values: np.ndarray, axis: int = 0, reading: Reading = READING) -> np.ndarray:
    """Mean over the averaged layers of `values`, whose `axis` holds layers 0 .. L; undefined (NaN) entries are left
    out.

    Layers that were not kept are undefined, so that the mean is over those that were. Nothing defined gives NaN.
    Raises ValueError if there is no layer to average.
    """
    values = np.asarray(values, dtype=np.float64)
    layers = averaged_layers(values.shape[axis], reading=reading)
    if not layers:
        raise ValueError(f"a mean over layers {reading.layers} needs more than {values.shape[axis]} layer(s), 0 .. L")
    return nan_mean(np.take(values, layers, axis=axis), axis=axis)


def nan_mean(values: np.ndarray, axis: int | None = 0) -> Any:
    """Mean along `axis` without NaN entries; NaN where nothing is left (numpy's nanmean warns there)."""
    defined = ~np.isnan(values)
    total = np.where(defined, values, 0.0).sum(axis=axis)
    count = defined.sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def best_frames(similarity: Any) -> Any:
    """The path i*_j = argmax_i A[..., i, j] of similarities (..., T_s, T_t), NumPy or torch: (..., T_t).

    Higher is better: negate distances. The first frame wins a tie.
    """
    return similarity.argmax(-2)


def path_score(similarity: np.ndarray, reading: Reading = READING) -> np.ndarray:
    """Mean similarity along the path through A (..., T_s, T_t), in float64: (...,)."""
    if reading.direction == "text to frame":
        return similarity.max(axis=-2).mean(axis=-1, dtype=np.float64)
    if reading.direction == "frame to text":
        return similarity.max(axis=-1).mean(axis=-1, dtype=np.float64)
    frames = best_frames(similarity)
    best_token = similarity.argmax(-1)
    mutual = np.take_along_axis(best_token, frames, axis=-1) == np.arange(similarity.shape[-1])
    values = np.take_along_axis(similarity, frames[..., None, :], axis=-2)[..., 0, :]
    # The largest entry is always a mutual best, so no mean is over nothing.
    return np.where(mutual, values, 0.0).sum(axis=-1, dtype=np.float64) / mutual.sum(axis=-1)
