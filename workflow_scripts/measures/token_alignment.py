"""Token-level similarity, the alignment path and what the paper reads off it, for one sample and all layers.

Source: arXiv 2510.12116, section on token-level analysis.

    A_l[i, j] = f(h^s_{l,i}, h^t_{l,j})            token matrix (T_s, T_t) for f = cosine or Euclidean
    i*_{l,j}  = argmax_i A_l[i, j]                 (argmin for the distance): one speech frame per text token
    APS       = mean_{l=1..L} mean_j A_l[i*_j, j]  Alignment Path Score

Near ties of the argmax are decided in float64 (`exact_best`). A shard with its null goes through `pair_alignment`,
which gives the same numbers for all pairs at once.
"""

from dataclasses import dataclass

import numpy as np

from workflow_scripts.measures.exact_best import most_similar_frames, nearest_frames
from workflow_scripts.measures.path_statistics import consistency, monotonicity
from workflow_scripts.measures.states import Prepared, mean_over_layers, prepare_pair

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


@dataclass(frozen=True)
class MetricAlignment:
    """Alignment of one sample under one metric.

    i_star        (L+1, T_t) int32, speech frame of each text token
    path_score    (L+1, T_t) float32, A_l[i*_j, j]
    monotonicity  (L+1,) float64, Spearman(j, i*_j); NaN where undefined (T_t < 4 or a constant path)
    undefined     number of layers 0..L with undefined monotonicity
    aps_by_layer  (L+1,) float64, mean of path_score over text tokens
    """

    i_star: np.ndarray
    path_score: np.ndarray
    monotonicity: np.ndarray
    undefined: int
    aps_by_layer: np.ndarray

    @property
    def aps(self) -> float:
        """APS of this sample: mean of `aps_by_layer` over layers 1..L. The mean over samples is the
        caller's."""
        return float(mean_over_layers(self.aps_by_layer))

    @property
    def mean_monotonicity(self) -> float:
        """Mean of the defined `monotonicity` over layers 1..L; NaN if none is defined."""
        return float(mean_over_layers(self.monotonicity))


@dataclass(frozen=True)
class TokenAlignment:
    """Alignment of one sample under both metrics; `consistency` (L+1,) is the share of text tokens on whose
    frame the two metrics agree; `zero_norms` as in `TokenSimilarity`."""

    cosine: MetricAlignment
    euclidean: MetricAlignment
    consistency: np.ndarray
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


def token_alignment(speech: np.ndarray | Prepared, text: np.ndarray | Prepared) -> TokenAlignment:
    """Paths, scores, monotonicity, consistency and APS of one (matched or mismatched) pair under both
    metrics.

    H_s is (L+1, T_s, d), H_t is (L+1, T_t, d); pass `prepare`d states when they are used more than once.
    Raises `InvalidStates` (ValueError) for non-finite states or shapes that do not fit.
    """
    speech, text = prepare_pair(speech, text)
    cosine, squared = _text_by_speech(speech, text)
    i_cosine, i_euclidean = _paths(speech, text)
    return TokenAlignment(
        cosine=_metric_alignment(i_cosine, _at(cosine, i_cosine), speech.positions),
        euclidean=_metric_alignment(i_euclidean, np.sqrt(_at(squared, i_euclidean)), speech.positions),
        consistency=consistency(i_cosine, i_euclidean),
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
    best = np.argmax if metric == "cosine" else np.argmin
    i_star = best(matrix, axis=1)
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


def _paths(speech: Prepared, text: Prepared) -> tuple[np.ndarray, np.ndarray]:
    """Paths of all layers under both metrics, (L+1, T_t) int32 each, near ties decided exactly."""
    found: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for layer in range(len(speech.states)):
        at = slice(layer, layer + 1)
        one = Prepared(speech.states[at], speech.norms[at], speech.first_equal[at])
        inner = text.states[layer] @ one.states[0].T
        for paths, best in zip(found, (most_similar_frames, nearest_frames)):
            paths.append(best(inner, one, text.states[layer], text.norms[layer]).astype(np.int32))
    return np.stack(found[0]), np.stack(found[1])


def _at(text_by_speech: np.ndarray, i_star: np.ndarray) -> np.ndarray:
    return np.take_along_axis(text_by_speech, i_star[:, :, None], axis=2)[:, :, 0]


def _metric_alignment(i_star: np.ndarray, path_score: np.ndarray, frames: int) -> MetricAlignment:
    rho = monotonicity(i_star, frames)
    return MetricAlignment(
        i_star=i_star,
        path_score=path_score,
        monotonicity=rho,
        undefined=int(np.isnan(rho).sum()),
        aps_by_layer=path_score.mean(axis=1, dtype=np.float64),
    )
