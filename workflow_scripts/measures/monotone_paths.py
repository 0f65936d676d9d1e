"""Paths that respect time: dynamic time warping and the text-monotone path. Ours; the paper's path is free.

How much score a path loses when it may not run back tells whether the free path follows the speech or
merely picks similar frames. All functions take token matrices of all layers, (L+1, T_s, T_t), and work on
the layers at once.
"""

from dataclasses import dataclass

import numpy as np

_DIAGONAL, _SPEECH, _TEXT = 0, 1, 2


@dataclass(frozen=True)
class WarpingPaths:
    """DTW of one sample. `cost` (L+1,) float64: summed cost of the cheapest path. `pairs`: per layer an (n,
    2) int array of (frame i, token j) from (0, 0) to (T_s - 1, T_t - 1)."""

    cost: np.ndarray
    pairs: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class MonotonePath:
    """Text-monotone path of one sample: `i_star` (L+1, T_t) int32, non-decreasing along text; `path_score`
    (L+1, T_t) similarity at the path; `score` (L+1,) float64, its mean over text tokens (compare with APS
    by layer)."""

    i_star: np.ndarray
    path_score: np.ndarray
    score: np.ndarray


def dtw(cost: np.ndarray) -> WarpingPaths:
    """Cheapest warping path through `cost` (L+1, T_s, T_t), usually 1 - cosine, from the first to the last
    corner.

    Steps (1, 0), (0, 1), (1, 1), each with weight 1. Among equally cheap ways back the diagonal is taken
    first, then a step in speech, then in text. O(T_s T_t) per layer, one vector operation per antidiagonal.
    Raises ValueError for a wrong shape or a cost that is not finite.
    """
    cost = _checked(cost, "cost").astype(np.float64)
    layers, frames, tokens = cost.shape
    # An antidiagonal i + j = m depends on the two before it only. Row 0 and column 0 of `total` are a
    # border of infinities that no path can cross; the corner before the start costs nothing.
    total = np.full((layers, frames + 1, tokens + 1), np.inf)
    total[:, 0, 0] = 0.0
    step = np.empty((layers, frames, tokens), dtype=np.int8)
    for m in range(frames + tokens - 1):
        i = np.arange(max(0, m - tokens + 1), min(frames, m + 1))
        j = m - i
        before = np.stack([total[:, i, j], total[:, i, j + 1], total[:, i + 1, j]])
        step[:, i, j] = np.argmin(before, axis=0)
        total[:, i + 1, j + 1] = before.min(axis=0) + cost[:, i, j]
    return WarpingPaths(cost=total[:, -1, -1], pairs=tuple(_walk_back(layer) for layer in step))


def frame_per_token(pairs: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """One frame per text token from a warping path: the cheapest of the frames it visits with that token.

    `pairs` (n, 2) from `dtw`, `cost` (T_s, T_t) of the same layer; returns (T_t,) int32, first frame on ties.
    """
    frames, tokens = pairs[:, 0], pairs[:, 1]
    order = np.lexsort((frames, cost[frames, tokens], tokens))
    starts = np.searchsorted(tokens[order], np.arange(cost.shape[1]))
    return frames[order][starts].astype(np.int32)


def text_monotone_path(similarity: np.ndarray) -> MonotonePath:
    """The non-decreasing path with the highest summed similarity, one frame per text token.

    `similarity` (L+1, T_s, T_t), higher is better (pass minus a distance). With the running maximum over
    frames V_j[i] = similarity[i, j] + max_{i' <= i} V_{j-1}[i'] the cost is O(T_s T_t) per layer. Ties go
    to the earlier frame. Raises ValueError for a wrong shape or a value that is not finite.
    """
    similarity = _checked(similarity, "similarity")
    layers, frames, tokens = similarity.shape
    # came_from[j] (layers, frames): best frame of token j given that token j + 1 sits on the indexed frame.
    came_from = np.empty((tokens, layers, frames), dtype=np.int32)
    value = np.zeros((layers, frames))
    index = np.arange(frames, dtype=np.int32)
    for j in range(tokens):
        value = similarity[:, :, j] + value
        best = np.maximum.accumulate(value, axis=1)
        record = np.ones_like(value, dtype=bool)
        record[:, 1:] = value[:, 1:] > best[:, :-1]
        came_from[j] = np.maximum.accumulate(np.where(record, index, 0), axis=1)
        value = best
    i_star = np.empty((layers, tokens), dtype=np.int32)
    frame = np.full(layers, frames - 1)
    for j in reversed(range(tokens)):
        frame = came_from[j, np.arange(layers), frame]
        i_star[:, j] = frame
    path_score = np.take_along_axis(similarity, i_star[:, None, :], axis=1)[:, 0, :]
    return MonotonePath(i_star, path_score, path_score.mean(axis=1, dtype=np.float64))


def _walk_back(step: np.ndarray) -> np.ndarray:
    """Pairs (i, j) of one layer from the steps (T_s, T_t) that led into each cell."""
    i, j = step.shape[0] - 1, step.shape[1] - 1
    pairs = [(i, j)]
    while i or j:
        taken = step[i, j]
        i -= taken != _TEXT
        j -= taken != _SPEECH
        pairs.append((i, j))
    return np.array(pairs[::-1], dtype=np.int32)


def _checked(matrix: np.ndarray, name: str) -> np.ndarray:
    matrix = np.asarray(matrix)
    if matrix.ndim != 3 or 0 in matrix.shape:
        raise ValueError(f"{name} has shape {matrix.shape}, expected (L+1, T_s, T_t), none of them 0")
    if not np.isfinite(matrix).all():
        layer = int(np.argwhere(~np.isfinite(matrix))[0, 0])
        raise ValueError(f"{name} of layer {layer} is not finite; no path is defined")
    return matrix
