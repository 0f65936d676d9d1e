"""Numbers beside a subset's score, each with its n and a 95 % interval, in the unit its name stands for (ours)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from workflow_scripts.scoring.intervals import exact_interval, mean_interval


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` questions; `low` and `high` are None where the spread is unknown."""

    value: float
    low: float | None
    high: float | None
    n: int
    method: str


def rate_estimate(outcomes: Sequence[bool | float], scale: float = 100.0) -> Estimate | None:
    """Share of 0/1 outcomes times `scale`, with the exact interval; None without outcomes."""
    n = len(outcomes)
    if n == 0:
        return None
    successes = int(sum(outcomes))
    interval = exact_interval(successes, n)
    return Estimate(scale * successes / n, scale * interval.low, scale * interval.high, n, interval.method)


def share_estimate(values: Sequence[float], scale: float = 100.0, low: float = 0.0) -> Estimate | None:
    """Mean of values from `low` to 1, times `scale`; None without values.

    Values outside, such as word error rates above 1, are taken as having no range.
    """
    n = len(values)
    if n == 0:
        return None
    if min(values) < low or max(values) > 1:
        return mean_estimate([scale * value for value in values])
    mean, width = math.fsum(values) / n, 1 - low
    if n < 2:
        return Estimate(scale * mean, None, None, n, "none (n < 2)")
    found = mean_interval((mean - low) / width, [(value - mean) / width for value in values])
    ends = (scale * (low + width * end) for end in (found.low, found.high))
    return Estimate(scale * mean, *ends, n, found.method)


def mean_estimate(values: Sequence[float]) -> Estimate | None:
    """Mean of values without a range, with Student's interval; None without values, no ends where all are equal."""
    n = len(values)
    if n == 0:
        return None
    # Here, because scorers are named where a config is read, which imports nothing heavy.
    import numpy as np

    from workflow_scripts.statistics.means import student_interval

    low, high = student_interval(np.asarray(values, dtype=np.float64))
    mean, unknown = math.fsum(values) / n, math.isnan(low)
    if unknown:
        return Estimate(mean, None, None, n, "none (n < 2)" if n < 2 else "none (no spread)")
    return Estimate(mean, low, high, n, "student")


def chance_corrected(score: float, chance: float) -> float:
    """(score - chance) / (1 - chance): 0 for a guesser, 1 for a perfect score, negative below chance.

    Raises:
        ValueError: chance is not in [0, 1).
    """
    if not 0 <= chance < 1:
        raise ValueError(f"the chance level is {chance!r}; expected a share from 0 to below 1")
    return (score - chance) / (1 - chance)


def corrected_estimate(scores: Sequence[float], chances: Sequence[float]) -> Estimate | None:
    """Mean chance-corrected score in points of 100.

    With one chance level for all questions the interval is the exact one of the plain accuracy, moved with it; with
    several it is that of the graded corrected scores.
    """
    if not scores:
        return None
    if len(set(chances)) > 1 or any(score not in (0, 1) for score in scores):
        corrected = [chance_corrected(s, c) for s, c in zip(scores, chances, strict=True)]
        return share_estimate(corrected, low=chance_corrected(0.0, max(chances)))
    plain = rate_estimate(scores, 1.0)
    value, low, high = (100 * chance_corrected(end, chances[0]) for end in (plain.value, plain.low, plain.high))
    return Estimate(value, low, high, plain.n, plain.method)
