"""Means over questions, their differences and their 95 % intervals, all in closed form (analytic, nothing is drawn).

A number is kept as one contribution per question, whose mean it is; a ratio of sums contributes its linearised terms.
Differences are taken question by question, so that every comparison is paired, and a difference of two gaps is a
difference like any other. Intervals (`tests/statistics/test_every_interval.py` has their coverage):

- mean of values in a known range: exact for two values, else Korn and Graubard's (`rates.graded_interval`)
- difference of such means: Bonett and Price's, for graded scores with Student's quantile (`difference_interval`)
- values without a range, such as losses, and their differences: Student's t
- mean over subsets: the subsets' intervals combined (`combined`; MOVER, Zou and Donner 2008)

An interval of no width is never given: without any spread to judge by its ends are NaN.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np

from workflow_scripts.statistics.rates import graded_interval, rate_interval

Z_95 = 1.959963984540054
POINTS = (0.0, 100.0)
"""Range of a score of one question, in points."""
ROUNDING = 1e-12
UNKNOWN = (float("nan"), float("nan"))
Interval = tuple[float, float]


@dataclass(frozen=True)
class Mean:
    """A mean over questions, a difference of such means, or the mean of several of them.

    Attributes:
        value: the number.
        values: (n,) contributions of the questions, whose mean is the number; of paired numbers in the same order.
        bounds: the least and the most that one question can contribute to one mean; None where there is no bound.
        own: an interval that replaces the one of `values`.
        paired: whether it is a difference.
        parts: the numbers of other questions each that this one is the mean of; it has no `values` then.
    """

    value: float
    values: np.ndarray
    bounds: Interval | None = POINTS
    own: Interval | None = None
    paired: bool = False
    parts: tuple["Mean", ...] = ()

    def __sub__(self, other: "Mean") -> "Mean":
        """The paired difference. Raises ValueError for numbers of different questions."""
        value = self.value - other.value
        if len(self.parts) != len(other.parts) or self.values.shape != other.values.shape:
            raise ValueError(f"cannot pair means of {self.values.shape} and {other.values.shape} questions")
        if self.parts:
            return replace(mean_of([one - two for one, two in zip(self.parts, other.parts)]), value=value)
        ends = None if None in (self.bounds, other.bounds) else tuple(zip(self.bounds, other.bounds))
        ends = None if ends is None else (min(ends[0]), max(ends[1]))
        return Mean(value, self.values - other.values, ends, paired=True)

    @property
    def interval(self) -> Interval:
        """Its 95 % interval; NaN where nothing tells the spread."""
        if self.own is not None:
            return self.own
        if self.parts:
            return combined([(one.value, *one.interval) for one in self.parts])
        if self.bounds is None:
            return student_interval(self.values)
        low, high = self.bounds
        if self.paired:
            return difference_interval(self.values, high - low)
        ends = share_interval((self.values - low) / (high - low))
        return low + (high - low) * ends[0], low + (high - low) * ends[1]


def mean_of(values: Sequence[Mean]) -> Mean:
    """The unweighted mean of numbers of different questions."""
    return Mean(float(np.mean([one.value for one in values])), np.empty(0), parts=tuple(values))


def of_scores(values: np.ndarray, bounds: Interval | None = POINTS, own: Interval | None = None) -> Mean:
    """The mean of (n,) values of questions."""
    return Mean(float(values.mean()), values, bounds, own)


def of_ratios(
    sums: Sequence[tuple[np.ndarray, np.ndarray]], bounds: Interval | None, own: Interval | None = None
) -> Mean:
    """The mean of ratios sum(above) / sum(below) over questions, (above, below) of (n,) each.

    A question contributes R + (above - R below) / mean(below) to the ratio R (its influence: the delta method).
    """
    parts = []
    for above, below in sums:
        ratio = above.sum() / below.sum()
        parts.append(above if (below == 1).all() else ratio + (above - ratio * below) / below.mean())
    values = np.mean(parts, axis=0)
    return Mean(float(np.mean([above.sum() / below.sum() for above, below in sums])), values, bounds, own)


def share_interval(values: np.ndarray) -> Interval:
    """Of the mean of (n,) values from 0 to 1: exact (Clopper and Pearson) for 0 and 1, else `graded_interval`."""
    n = len(values)
    if np.isin(values, (0, 1)).all():
        found = rate_interval(int(values.sum()), n, method="clopper-pearson")
        return found.low, found.high
    return graded_interval(float(values.mean()), float(values.var(ddof=1)) if n > 1 else 0.0, n)


def difference_interval(values: np.ndarray, unit: float) -> Interval:
    """Of the mean of paired differences (n,), where one answer can change a score by at most `unit`.

    Bonett and Price (2012) add one question to either discordant cell: two differences, +unit and -unit, and take the
    normal interval of all n + 2. For graded scores and differences of differences (ours) the two are +h and -h, with h
    the largest difference seen, at most `unit`, or `unit` where all are 0; and the quantile is Student's.
    """
    n = len(values)
    if n < 2:
        return UNKNOWN
    centre, variance = _with_two_more(values, unit)
    outcomes = np.isin(np.abs(values), (0, unit)).all()
    half = (Z_95 if outcomes else _student(n + 1)) * sqrt(variance)
    limit = unit if np.abs(values).max() <= unit else 2 * unit
    return max(-limit, centre - half), min(limit, centre + half)


def crossed_interval(table: np.ndarray, unit: float | None) -> Interval:
    """Of the mean of paired differences (conditions, n), for other questions and other conditions than these (ours).

    The variances of the mean over conditions and over questions are added, which counts their interaction twice and so
    errs on the wide side; Satterthwaite's degrees of freedom. NaN for one question or one condition, and for equal
    differences without a bound. `unit`: the most that one answer can change a score by; None for losses.
    """
    (conditions, n), value = table.shape, float(table.mean())
    if n < 2 or conditions < 2 or (unit is None and np.ptp(table) <= ROUNDING * np.abs(table).max()):
        return UNKNOWN
    between = float(table.mean(axis=1).var(ddof=1)) / conditions
    questions = table.mean(axis=0)
    within = float(questions.var(ddof=1)) / n if unit is None else _with_two_more(questions, unit)[1]
    df = (between + within) ** 2 / (between**2 / (conditions - 1) + within**2 / (n - 1))
    half = _student(df) * sqrt(between + within)
    if unit is None:
        return value - half, value + half
    return max(-unit, value - half), min(unit, value + half)


def _with_two_more(values: np.ndarray, unit: float) -> tuple[float, float]:
    """Mean and its variance, of paired differences (n,) and two more: see `difference_interval`."""
    n, largest = len(values), float(np.abs(values).max())
    step = min(largest, unit) if largest > 0 else unit
    centre = float(values.sum()) / (n + 2)
    return centre, ((float(values @ values) + 2 * step**2) / (n + 2) - centre**2) / (n + 2)


def student_interval(values: np.ndarray) -> Interval:
    """Of the mean of (n,) values without a range: Student's t; NaN for one value or equal ones."""
    n = len(values)
    if n < 2 or np.ptp(values) <= ROUNDING * np.abs(values).max():
        return UNKNOWN
    half = _student(n - 1) * float(values.std(ddof=1)) / sqrt(n)
    return float(values.mean()) - half, float(values.mean()) + half


def combined(parts: Sequence[tuple[float, float, float]]) -> Interval:
    """Of the unweighted mean of independent numbers (value, low, high): MOVER (Zou and Donner 2008).

    Distances from value to end are added in squares, each end by itself, so that the interval leans as its parts do.
    """
    if len(parts) == 1:
        return parts[0][1:]
    value, low, high = np.array(parts, dtype=np.float64).T
    below, above = (float(np.sqrt((ends**2).sum())) / len(parts) for ends in (value - low, high - value))
    return float(value.mean()) - below, float(value.mean()) + above


def _student(df: float) -> float:
    from scipy.special import stdtrit  # slow to load

    return float(stdtrit(df, 0.975))
