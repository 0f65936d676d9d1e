"""Sequence-level similarity of all speech-text pairs of a bin at once: matrices (m, m), the true pairs on the diagonal.

The same numbers as `similarity.compare_means` pair by pair (a test compares them), from one inner-product matrix.
"""

import numpy as np

from workflow_scripts.measures.states import ZERO_NORM


def pooled_pairs(speech: np.ndarray, text: np.ndarray) -> dict[str, np.ndarray]:
    """`cosine`, `euclidean`, `length_free_distance` (m_s, m_t) float64 of mean vectors speech (m_s, d), text (m_t, d).

    length_free_distance = euclidean / sqrt(||s|| ||t||), NaN where a vector is zero; cosine is 0 there. Distances of
    nearly equal vectors are computed from their difference.
    """
    speech, text = np.asarray(speech, dtype=np.float64), np.asarray(text, dtype=np.float64)
    norm_s, norm_t = _norms(speech), _norms(text)
    inner = speech @ text.T
    product = norm_s[:, None] * norm_t[None, :]
    cosine = np.clip(np.divide(inner, product, out=np.zeros_like(inner), where=product > 0), -1.0, 1.0)
    squares = norm_s[:, None] ** 2 + norm_t[None, :] ** 2
    squared = squares - 2 * inner
    rows, columns = np.nonzero(squared < 1e-6 * squares)
    squared[rows, columns] = ((speech[rows] - text[columns]) ** 2).sum(axis=1)
    euclidean = np.sqrt(np.maximum(squared, 0.0))
    free = np.divide(euclidean, np.sqrt(product), out=np.full_like(inner, np.nan), where=product > 0)
    return {"cosine": cosine, "euclidean": euclidean, "length_free_distance": free}


def cosine_pairs(speech: np.ndarray, text: np.ndarray) -> np.ndarray:
    """`cosine` alone; NaN where a vector is NaN (no mean to centre by)."""
    norm_s, norm_t = _norms(speech), _norms(text)
    product = norm_s[:, None] * norm_t[None, :]
    inner = speech @ text.T
    cosine = np.divide(inner, product, out=np.zeros_like(inner), where=product > 0)
    return np.where(np.isnan(inner), np.nan, np.clip(cosine, -1.0, 1.0))


def _norms(vectors: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(vectors, axis=1)
    norms[norms <= ZERO_NORM] = 0.0
    return norms
