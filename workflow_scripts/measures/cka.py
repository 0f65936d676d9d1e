"""Debiased linear CKA between every speech layer and every text layer, utterance level.

Source: HSIC_u is the unbiased estimator of Song et al. (2012); CKA of Kornblith et al. (2019). The biased form reaches
0.95 on independent data of 50 questions and 1,024 dimensions and is not offered.

    K = X X', M = Y Y', diagonals set to zero, n >= 4
    HSIC_u(K, M) = [ tr(K M) + (1'K1)(1'M1) / ((n-1)(n-2)) - 2/(n-2) 1'K M 1 ] / (n (n-3))
    CKA_u = HSIC_u(K, M) / sqrt(HSIC_u(K, K) HSIC_u(M, M))

HSIC_u is an inner product of `U-centred` matrices (Szekely and Rizzo 2014), so all pairs of layers are one product.
"""

import math
from dataclasses import dataclass

import numpy as np

MIN_QUESTIONS = 4
"""Questions below which HSIC_u does not exist."""


@dataclass(frozen=True)
class ShardQuestions:
    """What a measure of level `shard` is computed from: questions against questions, by layer.

    speech, text: (L+1, n, r) the questions' mean vectors (`reduced`), NaN at layers that are not known. near_speech,
    near_text: (L+1, n, k) the nearest other questions of each (`neighbours`), -1 at such layers. partners: (B, n) the
    text that each question's speech is drawn with, a permutation, one for all layers. Questions are relabelled in a
    draw, so on both axes.
    """

    speech: np.ndarray
    text: np.ndarray
    near_speech: np.ndarray
    near_text: np.ndarray
    partners: np.ndarray


def cka(questions: ShardQuestions) -> tuple[np.ndarray, np.ndarray]:
    """CKA_u of every speech layer with every text layer, (L+1, L+1), and its draws on equal layers, (B, L+1)."""
    grams = [np.stack([u_centred_gram(layer) for layer in form]) for form in (questions.speech, questions.text)]
    return layer_cka(*grams), null_cka(*grams, questions.partners)


def reduced(values: np.ndarray) -> np.ndarray:
    """Values (n, d) without their mean, in the coordinates of their span: (n, min(n, d)) float64.

    All inner products stay, and with them everything that a rotation leaves alone. Equal rows become exact zeros.
    """
    values = np.asarray(values, dtype=np.float64)
    centred = values - values.mean(axis=0)
    if np.abs(centred).max() <= 1e-12 * np.abs(values).max():
        centred = np.zeros_like(values)
    return centred if values.shape[1] <= len(values) else np.linalg.qr(centred.T, mode="r").T


def questions_needed(tau: float, n: float, similarity: float = 0.1) -> float:
    """Questions at which chance reaches this CKA in 5 % of cases only, from the critical value `tau` at n questions.

    A draw's standard deviation falls as 1 / n, whatever the states (`docs/measures.md`).
    """
    return math.ceil(n * max(tau, 0.0) / similarity) if math.isfinite(tau) else float("nan")


def u_centred_gram(values: np.ndarray) -> np.ndarray:
    """U-centred Gram matrix (n, n) float64 of values (n, d), scaled to length 1; NaN if it vanishes or n < 4.

    It vanishes for constant values: then no CKA is defined. HSIC_u(K, M) = <K, M> / (n (n - 3)) for these matrices.
    """
    values = np.asarray(values, dtype=np.float64)
    n = len(values)
    if n < MIN_QUESTIONS:
        return np.full((n, n), np.nan)
    largest = np.abs(values).max()
    values = (values - values.mean(axis=0)) / (largest if largest > 0 else 1.0)  # CKA_u ignores both
    gram = values @ values.T
    size = np.trace(gram)
    np.fill_diagonal(gram, 0.0)
    row = gram.sum(axis=1)
    gram += row.sum() / ((n - 1) * (n - 2)) - (row[:, None] + row[None, :]) / (n - 2)
    np.fill_diagonal(gram, 0.0)
    length = np.linalg.norm(gram)
    return gram / length if length > 1e-10 * max(size, 1e-300) else np.full((n, n), np.nan)


def layer_cka(speech: np.ndarray, text: np.ndarray) -> np.ndarray:
    """CKA_u (L+1, L+1) float64 from centred Gram matrices (L+1, n, n): row = speech layer, column = text layer."""
    depth = len(speech)
    return speech.reshape(depth, -1) @ text.reshape(depth, -1).T


def null_cka(speech: np.ndarray, text: np.ndarray, partners: np.ndarray) -> np.ndarray:
    """CKA_u of equal layers (B, L+1) when the texts are exchanged: `partners` (B, n), Gram matrices (L+1, n, n)."""
    drawn = np.empty((len(partners), len(speech)))
    for draw, other in enumerate(partners):
        drawn[draw] = np.einsum("lij,lij->l", speech, text[:, other[:, None], other[None, :]])
    return drawn
