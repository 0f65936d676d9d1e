"""Sequence-level similarity of spoken and written questions (paper, section on sequence-level analysis), and its
vectors.

For each layer l the states are averaged over positions and the two means compared, for all pairs of a length bin at
once (true pairs on the diagonal):

    hbar^s = mean_i h^s_i     hbar^t = mean_j h^t_j
    cosine = hbar^s . hbar^t / (||hbar^s|| ||hbar^t||)      euclidean = ||hbar^s - hbar^t||

Lengths matter, since ||s - t||^2 = ||s||^2 + ||t||^2 - 2 ||s|| ||t|| cos: growing norms alone raise the distance.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from workflow_scripts.measures.centring import Centring, held_out_means, massive_dimensions
from workflow_scripts.measures.neighbours import retrieval_at_1
from workflow_scripts.measures.states import Prepared
from workflow_scripts.measures.vectors import cosine_pairs, cosine_rows, lengths

Vectors = tuple[np.ndarray, np.ndarray]
"""Speech and text, (n, d) each."""


@dataclass(frozen=True)
class PooledForm:
    """One form of N questions at one layer.

    mean, median, last, without_first: (N, d) float64, over positions: the mean, the median, the last state, the mean
    without the first. token_norms: (N,) mean length of the single states.
    """

    mean: np.ndarray
    median: np.ndarray
    last: np.ndarray
    without_first: np.ndarray
    token_norms: np.ndarray


def pool_states(states: list[Prepared]) -> PooledForm:
    """Vectors of N questions, each `prepare`d from (1, T, d); with a single position it is all of them."""
    mean, median, last, rest = (np.empty((len(states), states[0].states.shape[2])) for _ in range(4))
    for number, one in enumerate(states):
        block = one.states[0]
        mean[number] = sequence_means(one)[0]
        median[number] = np.median(np.ascontiguousarray(block.T), axis=1)
        last[number] = block[-1]
        T = len(block)
        rest[number] = (mean[number] * T - block[0]) / (T - 1) if T > 1 else mean[number]
    return PooledForm(mean, median, last, rest, np.array([one.norms.mean() for one in states]))


def sequence_means(states: Prepared) -> np.ndarray:
    """hbar (L+1, d) float64: mean over positions."""
    ones = np.ones((1, states.positions), dtype=np.float32)  # a matrix product sums far faster than mean()
    return np.matmul(ones, states.states)[:, 0, :].astype(np.float64) / states.positions


@dataclass(frozen=True)
class PooledLayer:
    """All N questions of a shard at one layer, and what their pairs share.

    half: (N,) bool, which half's means centre the question (the other's). massive: dimensions that `trimmed` leaves
    out. chosen: questions that the measures which compare all with all use.
    """

    speech: PooledForm
    text: PooledForm
    half: np.ndarray
    massive: int
    chosen: np.ndarray

    def centred(self, centring: Centring) -> Vectors:
        """Means after the mean over the other half is taken away: `held_out_means`."""
        taken = held_out_means(self.speech.mean, self.text.mean, self.half, centring)
        return self.speech.mean - taken[0], self.text.mean - taken[1]

    @cached_property
    def centred_common(self) -> Vectors:
        return self.centred("common")

    @cached_property
    def centred_modality(self) -> Vectors:
        return self.centred("modality")

    @cached_property
    def trimmed(self) -> Vectors:
        """Means without the dimensions of massive activations."""
        speech, text = self.speech.mean, self.text.mean
        kept = np.delete(np.arange(speech.shape[1]), massive_dimensions(speech, text, self.massive))
        return speech[:, kept], text[:, kept]

    @cached_property
    def retrieval(self) -> np.ndarray:
        """Between the chosen questions."""
        return retrieval_at_1(self.speech.mean[self.chosen], self.text.mean[self.chosen])

    @cached_property
    def zero_norms(self) -> int:
        """Zero mean vectors of both forms."""
        return sum(int(np.count_nonzero(lengths(form.mean) == 0)) for form in (self.speech, self.text))


@dataclass(frozen=True)
class PooledPairs:
    """The questions `members` (m,) of one length bin at one layer: what a measure of level `pair` is computed from."""

    layer: PooledLayer
    members: np.ndarray

    def bin(self, vectors: Vectors) -> Vectors:
        """The bin's rows of vectors of the whole shard."""
        return vectors[0][self.members], vectors[1][self.members]

    def of_chosen(self, values: np.ndarray) -> np.ndarray:
        """The bin's part (m, m) of values between the chosen questions; NaN for questions that were not chosen."""
        place = np.full(len(self.layer.half), len(values))
        place[self.layer.chosen] = np.arange(len(values))
        padded = np.pad(values, (0, 1), constant_values=np.nan)
        return padded[np.ix_(place[self.members], place[self.members])]

    @cached_property
    def means(self) -> Vectors:
        return self.bin((self.layer.speech.mean, self.layer.text.mean))

    @cached_property
    def norms(self) -> Vectors:
        """||hbar^s|| and ||hbar^t||, (m,) each; 0 where a mean vector counts as zero."""
        return lengths(self.means[0]), lengths(self.means[1])

    @cached_property
    def inner(self) -> np.ndarray:
        return self.means[0] @ self.means[1].T

    @cached_property
    def norm_products(self) -> np.ndarray:
        return self.norms[0][:, None] * self.norms[1][None, :]

    @cached_property
    def euclidean(self) -> np.ndarray:
        """(m, m); distances of nearly equal vectors are computed from their difference."""
        speech, text = self.means
        squares = self.norms[0][:, None] ** 2 + self.norms[1][None, :] ** 2
        squared = squares - 2 * self.inner
        rows, columns = np.nonzero(squared < 1e-6 * squares)
        squared[rows, columns] = ((speech[rows] - text[columns]) ** 2).sum(axis=1)
        return np.sqrt(np.maximum(squared, 0.0))


# Measures with a null: (m, m), row = speech, column = text.


def cosine(pairs: PooledPairs) -> np.ndarray:
    """Cosine of the mean vectors; 0 where one is zero."""
    return cosine_pairs(*pairs.means)


def euclidean(pairs: PooledPairs) -> np.ndarray:
    """Euclidean distance of the mean vectors."""
    return pairs.euclidean


def length_free_distance(pairs: PooledPairs) -> np.ndarray:
    """euclidean / sqrt(||hbar^s|| ||hbar^t||); NaN where a vector is zero."""
    product = pairs.norm_products
    return np.divide(pairs.euclidean, np.sqrt(product), out=np.full_like(product, np.nan), where=product > 0)


def cosine_common(pairs: PooledPairs) -> np.ndarray:
    """Cosine after the mean over both forms of the other half is taken away."""
    return cosine_pairs(*pairs.bin(pairs.layer.centred_common))


def cosine_modality(pairs: PooledPairs) -> np.ndarray:
    """Cosine after each form's mean over the other half is taken away."""
    return cosine_pairs(*pairs.bin(pairs.layer.centred_modality))


def cosine_trimmed(pairs: PooledPairs) -> np.ndarray:
    """Cosine without the dimensions of massive activations."""
    return cosine_pairs(*pairs.bin(pairs.layer.trimmed))


def retrieval(pairs: PooledPairs) -> np.ndarray:
    """Whether the text is the most similar one to the speech."""
    return pairs.of_chosen(pairs.layer.retrieval)


# Measures without null: (m,), true pairs only.


def norm_speech(pairs: PooledPairs) -> np.ndarray:
    """||hbar^s||."""
    return pairs.norms[0]


def norm_text(pairs: PooledPairs) -> np.ndarray:
    """||hbar^t||."""
    return pairs.norms[1]


def token_norm_speech(pairs: PooledPairs) -> np.ndarray:
    """Mean length of the single speech states."""
    return pairs.layer.speech.token_norms[pairs.members]


def token_norm_text(pairs: PooledPairs) -> np.ndarray:
    """Mean length of the single text states."""
    return pairs.layer.text.token_norms[pairs.members]


def log_norm_ratio(pairs: PooledPairs) -> np.ndarray:
    """log(||hbar^s|| / ||hbar^t||); NaN where a vector is zero."""
    speech, text = pairs.norms
    defined = (speech > 0) & (text > 0)
    return np.where(defined, np.log(np.divide(speech, text, out=np.ones_like(speech), where=defined)), np.nan)


def cosine_median(pairs: PooledPairs) -> np.ndarray:
    """Cosine of the medians over positions."""
    return cosine_rows(*pairs.bin((pairs.layer.speech.median, pairs.layer.text.median)))


def cosine_last(pairs: PooledPairs) -> np.ndarray:
    """Cosine of the last states."""
    return cosine_rows(*pairs.bin((pairs.layer.speech.last, pairs.layer.text.last)))


def cosine_without_first(pairs: PooledPairs) -> np.ndarray:
    """Cosine of the means without the first position, often a sink of attention."""
    return cosine_rows(*pairs.bin((pairs.layer.speech.without_first, pairs.layer.text.without_first)))
