"""Measures of the alignment of speech frames and text tokens, from the pairs of a bin at one layer (`TokenPairs`).

Those with a null give (m_s, m_t) for all pairs, the others (m_s,) for the true pairs. The path score (its mean over
layers and questions is the APS), monotonicity and consistency are the paper's (arXiv 2510.12116).
"""

from functools import partial

import numpy as np

from workflow_scripts.measures import path_statistics
from workflow_scripts.measures.pair_alignment import TokenPairs
from workflow_scripts.measures.path_quality import warping_costs
from workflow_scripts.measures.reading import Reading, path_score


def path_score_cosine(pairs: TokenPairs) -> np.ndarray:
    """Mean cosine along the cosine path."""
    return pairs.scores["cosine"]


def path_score_euclidean(pairs: TokenPairs) -> np.ndarray:
    """Mean Euclidean distance along the path of nearest frames."""
    return pairs.scores["euclidean"]


def path_score_centred(pairs: TokenPairs) -> np.ndarray:
    """Mean best cosine after each form's mean over the positions of the other half is taken away."""
    return np.full(pairs.lengths.shape, np.nan) if pairs.centred is None else pairs.centred


def monotonicity_cosine(pairs: TokenPairs) -> np.ndarray:
    """Spearman(j, i*_j) of the cosine path."""
    return pairs.of_paths(path_statistics.monotonicity, "cosine", frames=pairs.frames)


def monotonicity_euclidean(pairs: TokenPairs) -> np.ndarray:
    """Spearman(j, i*_j) of the path of nearest frames."""
    return pairs.of_paths(path_statistics.monotonicity, "euclidean", frames=pairs.frames)


def consistency(pairs: TokenPairs) -> np.ndarray:
    """Share of text tokens on whose frame the two metrics agree."""
    return pairs.of_paths(path_statistics.consistency, "cosine", "euclidean")


def violations(pairs: TokenPairs) -> np.ndarray:
    """Share of steps of the cosine path that go back."""
    return pairs.of_paths(path_statistics.violations, "cosine")


def collisions(pairs: TokenPairs) -> np.ndarray:
    """1 - distinct frames / T_t of the cosine path."""
    return pairs.of_paths(path_statistics.collisions, "cosine", frames=pairs.frames)


def monotone_score(pairs: TokenPairs) -> np.ndarray:
    """Mean cosine on the best path that never runs back."""
    return pairs.monotone_score


def monotone_loss(pairs: TokenPairs) -> np.ndarray:
    """What the path score loses when the path may not run back."""
    return np.maximum(pairs.scores["cosine"] - pairs.monotone_score, 0.0)


def dtw_cost(pairs: TokenPairs) -> np.ndarray:
    """Cost of the cheapest time warping, 1 - cosine a step, divided by T_s + T_t."""
    return warping_costs(pairs.cosine, pairs.lengths, np.broadcast_to(pairs.T_s[:, None], pairs.lengths.shape))


def path_score_frame_to_text(pairs: TokenPairs) -> np.ndarray:
    """Mean over frames of the best cosine of any token."""
    return _read(pairs, Reading(direction="frame to text"))


def path_score_mutual(pairs: TokenPairs) -> np.ndarray:
    """Mean cosine of the pairs of frame and token that are each other's best."""
    return _read(pairs, Reading(direction="mutual best"))


def path_score_euclidean_on_cosine_path(pairs: TokenPairs) -> np.ndarray:
    """Mean Euclidean distance along the cosine path."""
    return np.array([own.on_cosine_path.mean() for own in pairs.own])


def time_error_ms(pairs: TokenPairs, path: str) -> np.ndarray:
    """Mean distance in time of a path from the words of its tokens, ms (`time_truth`)."""
    return np.array([own.time_scores(path).error[0] for own in pairs.own])


def time_error_median_ms(pairs: TokenPairs, path: str) -> np.ndarray:
    """Median distance in time of a path from the words of its tokens, ms."""
    return np.array([own.time_scores(path).median[0] for own in pairs.own])


def hit_rate(pairs: TokenPairs, path: str) -> np.ndarray:
    """Share of tokens whose frame holds any part of their word."""
    return np.array([own.time_scores(path).hit[0] for own in pairs.own])


def timed_share(pairs: TokenPairs) -> np.ndarray:
    """Share of text tokens that belong to a word with known times."""
    return np.array([np.nan if own.times is None else own.times.tokens.timed.mean() for own in pairs.own])


def of_path(function, path: str):
    """A measure of times for the path of a metric, or of `uniform` or `proportional`."""
    return partial(function, path=path)


def _read(pairs: TokenPairs, reading: Reading) -> np.ndarray:
    return np.array([float(path_score(own.cosine.T, reading)) for own in pairs.own])
