"""95 % intervals for the means of a score file: exact for shares of 0/1 outcomes, else Korn and Graubard's.

Exact: Clopper and Pearson 1934, covers at least 95 % at any n. Questions are taken as independent draws. Comparisons
between models or forms on the same questions are paired and belong to the statistics package.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from workflow_scripts.statistics.rates import graded_interval, rate_interval


@dataclass(frozen=True)
class Interval:
    """A 95 % interval on the scale 0 to 1 and the method that gave it."""

    low: float
    high: float
    method: str


def exact_interval(successes: int, n: int) -> Interval:
    """Clopper-Pearson interval of a share of 0/1 outcomes.

    Raises:
        ValueError: n < 1, or successes outside 0..n.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"need 0 <= successes <= n and n >= 1, got {successes} of {n}")
    found = rate_interval(successes, n, method="clopper-pearson")
    return Interval(found.low, found.high, found.method)


def mean_interval(mean: float, deviations: Sequence[float]) -> Interval:
    """Interval of the mean of graded scores from 0 to 1 (`rates.graded_interval`).

    Args:
        mean: the estimate.
        deviations: per question, its contribution's deviation from the mean (for a ratio of sums: the linearised one).

    With fewer than two questions the spread is unknown and the interval is all of 0..1.
    """
    n = len(deviations)
    if n < 2:
        return Interval(0.0, 1.0, "none (n < 2)")
    low, high = graded_interval(mean, sum(deviation**2 for deviation in deviations) / (n - 1), n)
    return Interval(low, high, "korn-graubard")
