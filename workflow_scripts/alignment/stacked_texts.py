"""Alignment of one spoken question with many texts at once, one layer: one matrix product serves every pair.

The same numbers as `measures.token_alignment` on each pair (a test compares them); the difference is speed. The texts
are stacked, so that a product with hundreds of rows replaces dozens of small ones, and nothing but the best frame of
each text token is turned into a cosine or a distance.
"""

from dataclasses import dataclass

import numpy as np

from workflow_scripts.measures import Prepared
from workflow_scripts.measures.token_alignment import CANCELLATION


@dataclass(frozen=True)
class StackedAlignment:
    """Best frame of each of n stacked text tokens and the value there, by metric.

    Attributes:
        i_star: "cosine" and "euclidean" -> (n,) int32.
        path_score: "cosine" and "euclidean" -> (n,) float64, the cosine or the distance at `i_star`.
    """

    i_star: dict[str, np.ndarray]
    path_score: dict[str, np.ndarray]


def align_stacked(speech: Prepared, text: np.ndarray, text_norms: np.ndarray) -> StackedAlignment:
    """Align speech of one layer, `prepare`d from (1, T_s, d), with stacked text vectors (n, d) float32.

    i*_j = argmax_i cos(s_i, t_j), and argmin_i ||s_i - t_j|| (paper, section on token-level analysis). Two identities
    spare work on the (n, T_s) matrix: the length of t_j does not move the argmax of the cosine, and
    ||s - t||^2 = ||t||^2 - 2 (s.t - ||s||^2 / 2). Equal frames: the first one wins. Zero vectors have cosine 0.

    Args:
        text_norms: (n,) float64 lengths of the text vectors, 0 where a vector counts as zero.
    """
    frames, norms = speech.states[0], speech.norms[0]
    inner = text @ frames.T
    i_cosine = np.argmax(inner * _reciprocal(norms).astype(np.float32), axis=1)
    i_cosine = speech.first_equal[0][i_cosine]
    i_euclidean = np.argmax(inner - (norms**2 / 2).astype(np.float32), axis=1)
    i_euclidean = speech.first_equal[0][i_euclidean]

    tokens = np.arange(len(text))
    cosine = inner[tokens, i_cosine] * _reciprocal(norms)[i_cosine] * _reciprocal(text_norms)
    squares = text_norms**2 + norms[i_euclidean] ** 2
    squared = squares - 2 * inner[tokens, i_euclidean].astype(np.float64)
    close = np.flatnonzero(squared < CANCELLATION * squares)
    if close.size:
        i_euclidean[close], squared[close] = _nearest_exactly(speech, text[close])
    return StackedAlignment(
        i_star={"cosine": i_cosine.astype(np.int32), "euclidean": i_euclidean.astype(np.int32)},
        path_score={"cosine": np.clip(cosine, -1.0, 1.0), "euclidean": np.sqrt(np.maximum(squared, 0.0))},
    )


def _nearest_exactly(speech: Prepared, text: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nearest frame of each text vector and its squared distance, in float64.

    Needed where the distance is a small part of the lengths: there float32 loses its digits and picks a neighbour.
    """
    frames, tokens = speech.states[0].astype(np.float64), text.astype(np.float64)
    squared = (frames**2).sum(axis=1) - 2 * (tokens @ frames.T)
    nearest = speech.first_equal[0][np.argmin(squared, axis=1)]
    return nearest, ((tokens - frames[nearest]) ** 2).sum(axis=1)


def _reciprocal(norms: np.ndarray) -> np.ndarray:
    return np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
