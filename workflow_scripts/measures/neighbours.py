"""Do speech and text see the same questions as neighbours? Mutual k nearest neighbours and retrieval, utterance level.

Huh et al. (2024) use mutual kNN between models. Rotation and scale do not matter, nor does anything
else that leaves the order of similarities alone. Chance: k / (n - 1) and 1 / n.
"""

import numpy as np

from workflow_scripts.measures.cka import ShardQuestions
from workflow_scripts.measures.vectors import cosine_pairs

NEIGHBOURS = 10
"""k; of a smaller shard, at most n - 2, so that not every other question is a neighbour."""


def nearest_questions(vectors: np.ndarray, k: int = NEIGHBOURS) -> np.ndarray:
    """The k nearest other questions of each by cosine, (n, k) int64, from vectors (n, d). Ties: the lower number.

    k is at most n - 2; nothing for n < 3. Raises ValueError for k < 1.
    """
    if k < 1:
        raise ValueError(f"k is {k}, expected at least 1")
    k = neighbours_used(len(vectors), k)
    cosine = cosine_pairs(vectors, vectors)
    np.fill_diagonal(cosine, -np.inf)
    return np.argsort(-cosine, axis=1, kind="stable")[:, :k]


def mutual_knn(questions: ShardQuestions) -> tuple[np.ndarray, np.ndarray]:
    """Share of nearest questions that speech and text have in common, (L+1,), and its draws, (B, L+1).

    A draw gives question i the text of question pi(i), with the neighbours that this text has: both axes are
    relabelled. To re-pair the lists of neighbours alone would compare i with a text that may be its own neighbour.
    """
    depth, n, k = questions.near_speech.shape
    values, draws = np.full(depth, np.nan), np.full((len(questions.partners), depth), np.nan)
    for layer in range(depth):
        speech, text = questions.near_speech[layer], questions.near_text[layer]
        if k == 0 or speech.min() < 0:
            continue
        member = np.zeros((n, n), dtype=bool)
        np.put_along_axis(member, text, True, axis=1)
        values[layer] = member[np.arange(n)[:, None], speech].mean()
        for draw, other in enumerate(questions.partners):
            draws[draw, layer] = member[other[:, None], other[speech]].mean()
    return values, draws


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
