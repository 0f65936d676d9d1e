"""Token matrices of one sample at all layers, for drawings, warping paths and edits.

    A_l[i, j] = f(h^s_{l,i}, h^t_{l,j})      (T_s, T_t) for f = cosine or Euclidean distance

Measures of a shard go through `pair_alignment`, which needs no matrix of distances.
"""

from dataclasses import dataclass

import numpy as np

from workflow_scripts.measures.reading import best_frames
from workflow_scripts.measures.states import Prepared, prepare_pair

CANCELLATION = 0.02
"""||s||^2 + ||t||^2 - 2 s.t loses digits in float32 when it is a small part of its first two terms. Below
this share it is computed again in float64, which keeps the distance within 1e-4 (relative) of a float64
reference."""


@dataclass(frozen=True)
class TokenSimilarity:
    """Token matrices of one sample: `cosine` and `euclidean` (L+1, T_s, T_t) float32; `zero_norms` counts
    zero vectors of both forms over all layers, whose cosines are set to 0."""

    cosine: np.ndarray
    euclidean: np.ndarray
    zero_norms: int


def token_similarity(speech: np.ndarray | Prepared, text: np.ndarray | Prepared) -> TokenSimilarity:
    """Token matrices of H_s (L+1, T_s, d) and H_t (L+1, T_t, d) for all layers.

    Raises `InvalidStates` (ValueError) for non-finite states or shapes that do not fit.
    """
    speech, text = prepare_pair(speech, text)
    cosine, squared = _text_by_speech(speech, text)
    return TokenSimilarity(
        cosine=cosine.transpose(0, 2, 1),
        euclidean=np.sqrt(squared).transpose(0, 2, 1),
        zero_norms=speech.zero_norms + text.zero_norms,
    )


def alignment_path(matrix: np.ndarray, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Path and score from token matrices (L+1, T_s, T_t): `i_star` (L+1, T_t) int32 and `path_score` (L+1,
    T_t).

    `metric` is "cosine" (argmax over frames) or "euclidean" (argmin); the first frame wins a tie.
    Raises ValueError for another metric or a shape that is not three-dimensional and non-empty.
    """
    if metric not in ("cosine", "euclidean"):
        raise ValueError(f"metric is {metric!r}, expected 'cosine' or 'euclidean'")
    if matrix.ndim != 3 or 0 in matrix.shape:
        raise ValueError(f"token matrices have shape {matrix.shape}, expected (L+1, T_s, T_t), none of them 0")
    i_star = best_frames(matrix if metric == "cosine" else -matrix)
    path_score = np.take_along_axis(matrix, i_star[:, None, :], axis=1)[:, 0, :]
    return i_star.astype(np.int32), path_score


def _text_by_speech(speech: Prepared, text: Prepared) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and squared distances, (L+1, T_t, T_s) float32: frames last, so that the search runs along
    memory."""
    inner = np.matmul(text.states, speech.states.transpose(0, 2, 1))
    norm_t, norm_s = text.norms[:, :, None], speech.norms[:, None, :]
    squares = (norm_t**2).astype(np.float32) + (norm_s**2).astype(np.float32)
    squared = squares - 2 * inner
    cosine = inner
    cosine *= _reciprocal(norm_t)
    cosine *= _reciprocal(norm_s)
    _repair_cancellation(squared, squares, speech, text)
    return np.clip(cosine, -1.0, 1.0, out=cosine), np.maximum(squared, 0.0, out=squared)


def _repair_cancellation(squared: np.ndarray, squares: np.ndarray, speech: Prepared, text: Prepared) -> None:
    """Recompute in float64, in place, the blocks of `squared` that hold a nearly cancelled entry."""
    close = squared < CANCELLATION * squares
    for layer in np.flatnonzero(close.any(axis=(1, 2))):
        tokens = np.flatnonzero(close[layer].any(axis=1))
        frames = np.flatnonzero(close[layer].any(axis=0))
        t = text.states[layer, tokens].astype(np.float64)
        s = speech.states[layer, frames].astype(np.float64)
        exact = (t * t).sum(axis=1)[:, None] + (s * s).sum(axis=1)[None, :] - 2 * (t @ s.T)
        squared[layer, tokens[:, None], frames[None, :]] = np.maximum(exact, 0.0)


def _reciprocal(norms: np.ndarray) -> np.ndarray:
    """1 / norm, and 0 for a zero vector, so that its cosines become exactly 0."""
    return np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0).astype(np.float32)
