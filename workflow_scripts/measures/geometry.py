"""Do the questions lie to each other in speech as they do in text? RSA and Procrustes, utterance level, equal layers.

RSA (Kriegeskorte et al. 2008): Spearman correlation of the n (n - 1) / 2 cosine distances between questions, after the
mean is taken out. Not of Euclidean ones: the mean over few tokens is a long vector in both forms, so that these agree
for unrelated states too (mean p 0.45 on the data of tests/measures/test_every_null.py).
Procrustes (Williams et al. 2021): ||X'Y||_* / (||X|| ||Y||) of centred X and Y (n, d), 1 - d^2 / 2 of their Procrustes
distance d at size 1; with fewer questions than dimensions it is high for unrelated data too. Neither changes with
shift, scale and rotation. A draw relabels the questions of one form, as in CKA.
"""

import numpy as np
from scipy.stats import rankdata

from workflow_scripts.measures.cka import MIN_QUESTIONS, ShardQuestions, null_cka

PROCRUSTES_QUESTIONS = 100
"""Spoken questions that Procrustes uses at most, the first ones: each draw costs a decomposition."""


def rsa(questions: ShardQuestions) -> tuple[np.ndarray, np.ndarray]:
    """Spearman correlation of distances between questions, (L+1,), and its draws, (B, L+1)."""
    speech, text = (np.stack([distance_ranks(layer) for layer in form]) for form in (questions.speech, questions.text))
    return np.einsum("lij,lij->l", speech, text), null_cka(speech, text, questions.partners)


def distance_ranks(values: np.ndarray) -> np.ndarray:
    """(n, n) ranks of the cosine distances between rows of centred values (n, r), less their mean, scaled to length 1;
    the diagonal is 0.

    Ties share their mean rank. NaN for n < 4, and where a question is at the mean.
    """
    n = len(values)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    if n < MIN_QUESTIONS or not (np.isfinite(lengths).all() and lengths.all()):
        return np.full((n, n), np.nan)
    directions = values / lengths
    pairs = np.triu_indices(n, 1)
    ranks = rankdata(-(directions @ directions.T)[pairs])
    ranks -= ranks.mean()
    matrix = np.zeros((n, n))
    matrix[pairs] = ranks
    matrix += matrix.T
    length = np.linalg.norm(matrix)
    return matrix / length if length > 0 else np.full((n, n), np.nan)


def procrustes(questions: ShardQuestions) -> tuple[np.ndarray, np.ndarray]:
    """Procrustes similarity of equal layers, (L+1,) in 0..1, and its draws, (B, L+1)."""
    own = np.arange(questions.speech.shape[1])[None]
    orders = np.concatenate([own, questions.partners])[:, :PROCRUSTES_QUESTIONS]
    values = np.stack([procrustes_of_orders(*layer, orders) for layer in zip(questions.speech, questions.text)], axis=1)
    return values[0], values[1:]


def procrustes_of_orders(speech: np.ndarray, text: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """Similarity (B,) of the first m questions' speech with the texts `orders` (B, m), from vectors (n, r) each.

    NaN for m < 4 and where the questions of a form are at one place. The singular values of X'Y are the roots of the
    eigenvalues of F' (YY') F, F (m, min(m, r)) having the inner products of X: one matrix for all orders.
    """
    m = orders.shape[1]
    if m < MIN_QUESTIONS or not (np.isfinite(speech).all() and np.isfinite(text).all()):
        return np.full(len(orders), np.nan)
    first = speech[:m] - speech[:m].mean(axis=0)
    if first.shape[1] > m:
        first = np.linalg.qr(first.T, mode="r").T
    gram = text @ text.T
    found = np.full(len(orders), np.nan)
    for number, order in enumerate(orders):
        chosen = gram[order[:, None], order]
        size = np.linalg.norm(first) * np.sqrt(max(np.trace(chosen) - chosen.sum() / m, 0.0))
        if size > 0:
            roots = np.sqrt(np.linalg.eigvalsh(first.T @ chosen @ first).clip(min=0))
            found[number] = roots.sum() / size
    return found
