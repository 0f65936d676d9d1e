"""Cosines of rows of vectors: a vector no longer than ZERO_NORM counts as zero, and its cosine is 0."""

import numpy as np

from workflow_scripts.measures.states import ZERO_NORM


def cosine_pairs(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Cosines (n, m) float64 of all rows of first (n, d) with all of second (m, d); NaN where a vector is NaN."""
    return _cosine(first @ second.T, lengths(first)[:, None] * lengths(second)[None, :])


def cosine_rows(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Cosines (n,) float64 of each row of first (n, d) with the same row of second (n, d)."""
    return _cosine(np.einsum("nd,nd->n", first, second), lengths(first) * lengths(second))


def lengths(vectors: np.ndarray) -> np.ndarray:
    """Euclidean lengths (n,) of vectors (n, d); exactly 0 where at most ZERO_NORM."""
    norms = np.linalg.norm(vectors, axis=1)
    norms[norms <= ZERO_NORM] = 0.0
    return norms


def _cosine(inner: np.ndarray, products: np.ndarray) -> np.ndarray:
    cosine = np.divide(inner, products, out=np.zeros_like(inner), where=products > 0)
    return np.where(np.isnan(inner), np.nan, np.clip(cosine, -1.0, 1.0))
