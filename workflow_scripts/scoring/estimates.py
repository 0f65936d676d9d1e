"""Numbers beside a subset's score, each with its n and a 95 % interval, in the unit its name stands for (ours)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from workflow_scripts.scoring.intervals import Z_95, exact_interval


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` questions; `low` and `high` are None where the spread is unknown (n < 2)."""

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


def mean_estimate(values: Sequence[float], scale: float = 1.0) -> Estimate | None:
    """Mean times `scale` with 1.96 standard errors; None without values."""
    n = len(values)
    if n == 0:
        return None
    mean = math.fsum(values) / n
    if n < 2:
        return Estimate(scale * mean, None, None, n, "none (n < 2)")
    half = Z_95 * math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n)
    return Estimate(scale * mean, scale * (mean - half), scale * (mean + half), n, "normal")


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
    several it is the normal approximation over the corrected scores.
    """
    if not scores:
        return None
    if len(set(chances)) > 1 or any(score not in (0, 1) for score in scores):
        return mean_estimate([chance_corrected(s, c) for s, c in zip(scores, chances, strict=True)], 100.0)
    plain = rate_estimate(scores, 1.0)
    value, low, high = (100 * chance_corrected(end, chances[0]) for end in (plain.value, plain.low, plain.high))
    return Estimate(value, low, high, plain.n, plain.method)
