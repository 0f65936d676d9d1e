"""The best frame of each text token, independent of how float32 rounds.

Ours. A path is made of argmaxes, and an argmax has no tolerance: where two frames are equally good up to rounding, the
order in which a matrix product adds decides, and monotonicity and consistency, which see frame numbers only, jump by a
finite amount. So every near tie is decided again in float64. What is left are ties of equal vectors; there the first
frame wins (`Prepared.first_equal`).
"""

import numpy as np

from workflow_scripts.measures.states import Prepared

TIE = 4e-6
"""Entries closer than this share of ||s|| ||t|| are a near tie: well above the rounding of a float32 product (tested
at d = 4,096), and so narrow that few tokens are computed twice."""


def most_similar_frames(inner: np.ndarray, speech: Prepared, text: np.ndarray, text_norms: np.ndarray) -> np.ndarray:
    """argmax_i cos(s_i, t_j) for each text vector: (n,) int64. The length of t_j does not move it.

    inner (n, T_s) float32 inner products; `speech` of one layer, (1, T_s, d); text (n, d); text_norms (n,).
    """
    reciprocal = np.divide(1.0, speech.norms[0], out=np.zeros_like(speech.norms[0]), where=speech.norms[0] > 0)
    score = inner * reciprocal.astype(np.float32)
    best, near = _near_ties(score, 2 * TIE * text_norms, None)
    if near.size:
        exact = (text[near].astype(np.float64) @ speech.states[0].astype(np.float64).T) * reciprocal
        best[near] = np.argmax(exact, axis=1)
    return speech.first_equal[0][best]


def nearest_frames(inner: np.ndarray, speech: Prepared, text: np.ndarray, text_norms: np.ndarray) -> np.ndarray:
    """argmin_i ||s_i - t_j|| for each text vector: (n,) int64; arguments as in `most_similar_frames`.

    By ||s - t||^2 = ||t||^2 - 2 (s.t - ||s||^2 / 2), in which the first term does not move it.
    """
    norms = speech.norms[0]
    score = inner - (norms**2 / 2).astype(np.float32)
    longest = float(text_norms.max(initial=0.0))
    best, near = _near_ties(score, np.zeros(len(score)), TIE * (norms * longest + norms**2 / 2))
    if near.size:
        frames = speech.states[0].astype(np.float64)
        exact = text[near].astype(np.float64) @ frames.T - (frames * frames).sum(axis=1) / 2
        best[near] = np.argmax(exact, axis=1)
    return speech.first_equal[0][best]


def _near_ties(score: np.ndarray, by_row: np.ndarray, by_column: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Argmax of each row, and the rows in which another entry may be as large within the tolerances."""
    best = np.argmax(score, axis=1)
    top = score[np.arange(len(score)), best]
    floor = top - by_row.astype(np.float32)
    if by_column is not None:
        floor = floor - by_column[best].astype(np.float32)
        score = score + by_column.astype(np.float32)
    return best, np.flatnonzero(np.count_nonzero(score >= floor[:, None], axis=1) > 1)
