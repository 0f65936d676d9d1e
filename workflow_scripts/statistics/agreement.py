"""Do two systems fail on the same questions? Cohen's kappa and the overlap of errors, from paired 0/1 outcomes (n,).

Kappa (Cohen 1960) = (agreement - expected) / (1 - expected), expected from the two rates of success; 1 for equal
outcomes, 0 for independent ones. Error overlap = errors of both / errors of either (Jaccard), beside the value that
independent errors of the same rates would have. Everything is computed on counts, so that weights of a bootstrap give
all resamples at once.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Agreement:
    """Agreement of two systems; every attribute is a float, or an array (draws,) for weighted outcomes.

    Attributes:
        agreement: share of questions with equal outcome.
        kappa: NaN where one system's outcome never varies together with the other's (expected agreement of 1).
        error_overlap: NaN where neither fails.
        error_overlap_chance: error overlap of independent failures of the same rates; NaN where neither fails.
    """

    agreement: np.ndarray
    kappa: np.ndarray
    error_overlap: np.ndarray
    error_overlap_chance: np.ndarray


def outcome_agreement(first: np.ndarray, second: np.ndarray, weights: np.ndarray | None = None) -> Agreement:
    """Agreement of two systems on the same questions.

    Args:
        first, second: (n,) outcomes, 0 or 1.
        weights: (draws, n) how often each question counts; None counts each once.

    Raises:
        ValueError: no questions, lengths that differ, or outcomes other than 0 and 1.
    """
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape or not len(first):
        raise ValueError(f"need two non-empty sequences of equal length, got shapes {first.shape} and {second.shape}")
    if not np.isin(np.concatenate([first, second]), (0, 1)).all():
        raise ValueError("outcomes must be 0 or 1; decide for graded scores what counts as success")
    weights = np.ones(len(first)) if weights is None else np.asarray(weights, dtype=np.float64)
    total = weights.sum(axis=-1)
    both, one, other = (weights @ part for part in (first * second, first, second))
    neither = total - one - other + both
    # In products of counts, which are exact: shares of n would leave kappa at 1e-16 where it is 0.
    expected = one * other + (total - one) * (total - other)
    return Agreement(
        agreement=(both + neither) / total,
        kappa=_ratio(total * (both + neither) - expected, total**2 - expected),
        error_overlap=_ratio(neither, total - both),
        error_overlap_chance=_ratio((total - one) * (total - other), total**2 - one * other),
    )


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full(np.shape(below), np.nan), where=np.asarray(below) > 0)
