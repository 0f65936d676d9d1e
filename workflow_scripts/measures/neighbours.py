"""Do speech and text see the same questions as neighbours? Mutual k nearest neighbours and retrieval, utterance level.

Ours (`reference`: Huh et al. 2024 use mutual kNN between models). Rotation and scale do not matter, nor does anything
else that leaves the order of similarities alone. Chance: k / (n - 1) and 1 / n.
"""

import numpy as np

from workflow_scripts.measures.vectors import cosine_pairs

NEIGHBOURS = 10
"""k; of a smaller shard, at most n - 2, so that not every other question is a neighbour."""


def mutual_neighbours(speech: np.ndarray, text: np.ndarray, k: int = NEIGHBOURS) -> np.ndarray:
    """Overlap of the k nearest neighbours of speech i among speech and of text j among text: (n, n) float64.

    speech, text (n, d), one vector per question; nearest by cosine, the question itself left out. The diagonal is the
    mutual kNN of each question; its chance level is k / (n - 1). All NaN for n < 3. Raises ValueError for k < 1.
    """
    if k < 1:
        raise ValueError(f"k is {k}, expected at least 1")
    n = len(speech)
    if n < 3:
        return np.full((n, n), np.nan)
    k = min(k, n - 2)
    near_s, near_t = (_nearest(form, k) for form in (speech, text))
    return (near_s @ near_t.T) / k


def neighbours_used(n: int, k: int = NEIGHBOURS) -> int:
    """The k that `mutual_neighbours` uses for n questions; 0 for n < 3."""
    return min(k, n - 2) if n >= 3 else 0


def retrieval_at_1(speech: np.ndarray, text: np.ndarray) -> np.ndarray:
    """(n, n) float64: 1 where text j is the most similar one to speech i by cosine, else 0.

    Equally similar texts share the hit. The diagonal is R@1 of each question, its chance level 1 / n. NaN for n < 2.
    """
    n = len(speech)
    if n < 2:
        return np.full((n, n), np.nan)
    cosine = cosine_pairs(speech, text)
    best = cosine >= cosine.max(axis=1, keepdims=True)
    return best / best.sum(axis=1, keepdims=True)


def _nearest(vectors: np.ndarray, k: int) -> np.ndarray:
    """(n, n) float64 membership: 1 where j is one of the k nearest of i. Ties: the lower number."""
    cosine = cosine_pairs(vectors, vectors)
    np.fill_diagonal(cosine, -np.inf)
    nearest = np.argsort(-cosine, axis=1, kind="stable")[:, :k]
    member = np.zeros_like(cosine)
    np.put_along_axis(member, nearest, 1.0, axis=1)
    return member
