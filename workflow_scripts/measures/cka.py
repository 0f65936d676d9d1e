"""Debiased linear CKA between every speech layer and every text layer, utterance level.

Source: HSIC_u is the unbiased estimator of Song et al. (2012); CKA of Kornblith et al. (2019). The biased form reaches
0.95 on independent data of 50 questions and 1,024 dimensions and is not offered.

    K = X X', M = Y Y', diagonals set to zero, n >= 4
    HSIC_u(K, M) = [ tr(K M) + (1'K1)(1'M1) / ((n-1)(n-2)) - 2/(n-2) 1'K M 1 ] / (n (n-3))
    CKA_u = HSIC_u(K, M) / sqrt(HSIC_u(K, K) HSIC_u(M, M))

HSIC_u is an inner product of `U-centred` matrices (Szekely and Rizzo 2014), so all pairs of layers are one product.
"""

from dataclasses import dataclass

import numpy as np

MIN_QUESTIONS = 4
"""Questions below which HSIC_u does not exist."""


@dataclass(frozen=True)
class ShardQuestions:
    """What a measure of level `shard` is computed from: questions against questions, by layer.

    speech, text: (L+1, n, n) U-centred Gram matrices of the questions' mean vectors. near_speech, near_text: (L+1, n,
    k) the nearest other questions of each (`neighbours`), -1 at layers that are not known. partners: (B, n) the text
    that each question's speech is drawn with, a permutation. Questions are relabelled in a draw, so on both axes.
    """

    speech: np.ndarray
    text: np.ndarray
    near_speech: np.ndarray
    near_text: np.ndarray
    partners: np.ndarray


def cka(grams: ShardQuestions) -> tuple[np.ndarray, np.ndarray]:
    """CKA_u of every speech layer with every text layer, (L+1, L+1), and its draws on equal layers, (B, L+1)."""
    return layer_cka(grams.speech, grams.text), null_cka(grams.speech, grams.text, grams.partners)


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
