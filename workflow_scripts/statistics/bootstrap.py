"""Paired bootstrap over questions: the interval of a difference of means of two conditions on the same questions.

The paper (arXiv 2510.12116) prints differences without intervals.
"""

from dataclasses import dataclass

import numpy as np

CHUNK = 4_000_000
"""Indices drawn at a time, about 32 MB."""


@dataclass(frozen=True)
class BootstrapInterval:
    """Difference of means in the units of the scores, with its percentile interval; NaN ends for a single question."""

    estimate: float
    low: float
    high: float


def paired_bootstrap(
    first: np.ndarray, second: np.ndarray, draws: int, seed: int, level: float = 0.95
) -> BootstrapInterval:
    """mean(first - second) over questions (n,), with a percentile interval from resampled questions.

    Raises ValueError if the lengths differ or are 0, a score is not finite, or draws < 1.
    """
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape or first.size == 0:
        raise ValueError(f"scores {first.shape} and {second.shape}: expected the same questions (n,) twice, n > 0")
    if draws < 1:
        raise ValueError(f"draws is {draws}, expected at least 1")
    difference = first - second
    if not np.isfinite(difference).all():
        item = int(np.flatnonzero(~np.isfinite(difference))[0])
        raise ValueError(f"scores of question {item} are {first[item]} and {second[item]}; leave out unscored ones")
    estimate, n = float(difference.mean()), difference.size
    if n == 1:
        return BootstrapInterval(estimate, float("nan"), float("nan"))
    rng = np.random.default_rng(np.random.SeedSequence(seed).spawn(1)[0])
    means = np.empty(draws)
    step = max(1, CHUNK // n)
    for start in range(0, draws, step):
        rows = min(step, draws - start)
        means[start : start + rows] = difference[rng.integers(n, size=(rows, n))].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return BootstrapInterval(estimate, float(low), float(high))
