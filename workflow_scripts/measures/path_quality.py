"""How good is a path that respects time? Scores of the text-monotone path and of DTW, for one sample or many pairs.

Ours. The free path of the paper may jump; what it loses when it may not, and what the cheapest warping costs, tell
whether it follows the speech. `path_quality` works from token matrices, stored or fresh; `monotone_scores` and
`warping_costs` do the same for many pairs at one layer, for their null. All scores are cosines.
"""

from dataclasses import dataclass

import numpy as np

from workflow_scripts.measures.path_statistics import collisions, violations
from workflow_scripts.measures.token_alignment import alignment_path

BELOW_ANY = -2.0
"""What fills token matrices up to a common number of frames: lower than every cosine, so no path goes there."""


@dataclass(frozen=True)
class PathQuality:
    """Quality of the alignment of one sample by layer; every array is (L+1,) float64.

    free_score      mean cosine on the paper's path
    monotone_score  mean cosine on the best non-decreasing path, one frame per token
    monotone_loss   free_score - monotone_score, >= 0
    dtw_cost        cost of the cheapest warping path, 1 - cosine a step, divided by T_s + T_t
    violations      share of steps of the free path that go back; NaN for one token
    collisions      1 - distinct frames / T_t of the free path
    """

    free_score: np.ndarray
    monotone_score: np.ndarray
    monotone_loss: np.ndarray
    dtw_cost: np.ndarray
    violations: np.ndarray
    collisions: np.ndarray


def path_quality(cosine: np.ndarray) -> PathQuality:
    """Quality from token matrices of cosines (L+1, T_s, T_t), computed now or stored (float16 or float32).

    Raises ValueError for a wrong shape or a value that is not finite.
    """
    cosine = np.asarray(cosine)
    i_star, path_score = alignment_path(cosine, "cosine")
    if not np.isfinite(cosine).all():
        layer = int(np.argwhere(~np.isfinite(cosine))[0, 0])
        raise ValueError(f"token matrix of layer {layer} is not finite; no path is defined")
    layers, T_s, T_t = cosine.shape
    block = np.ascontiguousarray(cosine.transpose(0, 2, 1), dtype=np.float64)
    lengths = np.full(layers, T_t)
    free = path_score.mean(axis=1, dtype=np.float64)
    monotone = monotone_scores(block, lengths)
    return PathQuality(
        free_score=free,
        monotone_score=monotone,
        monotone_loss=np.maximum(free - monotone, 0.0),
        dtw_cost=warping_costs(block, lengths, np.full(layers, T_s)),
        violations=violations(i_star),
        collisions=collisions(i_star),
    )


def monotone_scores(cosine: np.ndarray, T_t: np.ndarray) -> np.ndarray:
    """Mean cosine on the best non-decreasing path of each pair: float64, the shape of T_t.

    cosine (..., tokens, frames), filled up with anything along tokens and with `BELOW_ANY` along frames; T_t (...,).
    A running maximum over frames, O(T_s T_t) a pair.
    """
    cosine, lengths, back = _longest_first(cosine, T_t)
    score = np.empty(len(lengths))
    value = np.zeros((len(lengths), cosine.shape[-1]), dtype=cosine.dtype)
    for j in range(int(lengths[0])):
        going = int(np.count_nonzero(lengths > j))
        value = cosine[:going, j] + value[:going]
        np.maximum.accumulate(value, axis=-1, out=value)
        ends = np.flatnonzero(lengths[:going] == j + 1)
        score[ends] = value[ends, -1]
    return (score / lengths)[back].reshape(T_t.shape)


def warping_costs(cosine: np.ndarray, T_t: np.ndarray, T_s: np.ndarray) -> np.ndarray:
    """Cost of the cheapest warping path of each pair, divided by T_s + T_t: float64, the shape of T_t.

    Steps (1, 0), (0, 1), (1, 1) from corner to corner, each cell costing 1 - cosine. Arguments as in `monotone_scores`;
    T_s (...,) frames. Along one token the recursion D[i] = c[i] + min(before[i], D[i - 1]) is
    D[i] = C[i] + min_{k <= i} (before[k] - C[k - 1]) with C the running sum of c.
    """
    cosine, lengths, back = _longest_first(cosine, T_t)
    frames = np.empty(len(lengths), dtype=np.int64)
    frames[back] = T_s.ravel()
    cost = np.empty(len(lengths))
    total = np.empty((0, cosine.shape[-1]), dtype=cosine.dtype)
    for j in range(int(lengths[0])):
        going = int(np.count_nonzero(lengths > j))
        step = 1 - cosine[:going, j]
        running = np.cumsum(step, axis=-1)
        if j > 0:
            before = total[:going].copy()
            np.minimum(before[:, 1:], total[:going, :-1], out=before[:, 1:])
            before -= running
            before += step
            np.minimum.accumulate(before, axis=-1, out=before)
            running += before
        total = running
        ends = np.flatnonzero(lengths[:going] == j + 1)
        cost[ends] = total[ends, frames[ends] - 1]
    return (cost / (frames + lengths))[back].reshape(T_t.shape)


def _longest_first(cosine: np.ndarray, T_t: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs (P, tokens, frames) and their T_t (P,), longest first, so that those still going are a slice; and the place
    of each pair."""
    order = np.argsort(-T_t.ravel(), kind="stable")
    back = np.empty_like(order)
    back[order] = np.arange(order.size)
    return cosine.reshape(-1, *cosine.shape[-2:])[order], T_t.ravel()[order], back
