"""Sequence-level (pooled) similarity of the spoken and the written form of one sample.

Source: arXiv 2510.12116, section on sequence-level analysis. For each layer l the states are averaged over
positions and the two means are compared:

    hbar^s_l = mean_i h^s_{l,i}     hbar^t_l = mean_j h^t_{l,j}
    cosine_l = hbar^s_l . hbar^t_l / (||hbar^s_l|| ||hbar^t_l||)      euclidean_l = ||hbar^s_l - hbar^t_l||

The norms stored beside them are ours: distance and cosine are tied by
||s - t||^2 = ||s||^2 + ||t||^2 - 2 ||s|| ||t|| cos, so growing norms alone raise the distance.
"""

from dataclasses import dataclass

import numpy as np

from workflow_scripts.measures.states import ZERO_NORM, Prepared, mean_over_layers, prepare_pair


@dataclass(frozen=True)
class PooledSimilarity:
    """Comparison of the two mean vectors of one sample; every array is (L+1,) float64, in the model's own
    units.

    cosine, euclidean            of the mean vectors; cosine is 0 where a mean vector is zero
    norm_speech, norm_text       lengths of the mean vectors
    token_norm_speech, ..._text  mean length of the single vectors
    zero_norms                   number of zero mean vectors met (both forms, all layers)
    """

    cosine: np.ndarray
    euclidean: np.ndarray
    norm_speech: np.ndarray
    norm_text: np.ndarray
    token_norm_speech: np.ndarray
    token_norm_text: np.ndarray
    zero_norms: int

    @property
    def sim_cosine(self) -> float:
        """Sim with cosine for this sample: mean over layers 1..L."""
        return float(mean_over_layers(self.cosine))

    @property
    def sim_euclidean(self) -> float:
        """Sim with Euclidean distance for this sample: mean over layers 1..L; lower is more similar."""
        return float(mean_over_layers(self.euclidean))

    @property
    def log_norm_ratio(self) -> np.ndarray:
        """(L+1,) log(||hbar^s|| / ||hbar^t||); NaN where a mean vector is zero."""
        return _log_ratio(self.norm_speech, self.norm_text)

    @property
    def log_token_norm_ratio(self) -> np.ndarray:
        """(L+1,) log of the ratio of mean single-vector lengths, speech over text; NaN where one is zero."""
        return _log_ratio(self.token_norm_speech, self.token_norm_text)

    @property
    def length_free_distance(self) -> np.ndarray:
        """(L+1,) euclidean / sqrt(norm_speech norm_text): distance without the scale; NaN for a zero
        vector."""
        scale = np.sqrt(self.norm_speech * self.norm_text)
        return np.divide(self.euclidean, scale, out=np.full_like(scale, np.nan), where=scale > 0)


def pooled_similarity(speech: np.ndarray | Prepared, text: np.ndarray | Prepared) -> PooledSimilarity:
    """Compare H_s (L+1, T_s, d) and H_t (L+1, T_t, d) by their means over positions, for all layers.

    Raises `InvalidStates` (ValueError) for non-finite states or shapes that do not fit.
    """
    speech, text = prepare_pair(speech, text)
    return compare_means(
        sequence_means(speech), sequence_means(text), speech.norms.mean(axis=1), text.norms.mean(axis=1)
    )


def sequence_means(states: Prepared) -> np.ndarray:
    """hbar (L+1, d) float64: mean over positions. Worth keeping: nulls on pooled measures need nothing
    else."""
    ones = np.ones((1, states.positions), dtype=np.float32)  # a matrix product sums far faster than mean()
    return np.matmul(ones, states.states)[:, 0, :].astype(np.float64) / states.positions


def compare_means(
    mean_speech: np.ndarray,
    mean_text: np.ndarray,
    token_norm_speech: np.ndarray,
    token_norm_text: np.ndarray,
) -> PooledSimilarity:
    """The same from means (L+1, d) and mean single-vector norms (L+1,) computed before, for the draws of a
    null."""
    norm_speech, norm_text = _norms(mean_speech), _norms(mean_text)
    product = norm_speech * norm_text
    inner = np.einsum("ld,ld->l", mean_speech, mean_text)
    cosine = np.divide(inner, product, out=np.zeros_like(product), where=product > 0)
    return PooledSimilarity(
        cosine=np.clip(cosine, -1.0, 1.0),
        euclidean=np.linalg.norm(mean_speech - mean_text, axis=1),
        norm_speech=norm_speech,
        norm_text=norm_text,
        token_norm_speech=np.asarray(token_norm_speech, dtype=np.float64),
        token_norm_text=np.asarray(token_norm_text, dtype=np.float64),
        zero_norms=int(np.count_nonzero(norm_speech == 0) + np.count_nonzero(norm_text == 0)),
    )


def _norms(means: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(means, axis=1)
    norms[norms <= ZERO_NORM] = 0.0
    return norms


def _log_ratio(speech: np.ndarray, text: np.ndarray) -> np.ndarray:
    defined = (speech > 0) & (text > 0)
    ratio = np.divide(speech, text, out=np.ones_like(speech), where=defined)
    return np.where(defined, np.log(ratio), np.nan)
