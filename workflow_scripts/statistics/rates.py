"""Intervals for a rate, k successes in n independent trials, and for means of graded scores. Standard methods."""

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Literal


@dataclass(frozen=True)
class RateInterval:
    """rate = successes / n in [0, 1] with its interval; `method` is "wilson" or "clopper-pearson". For n =
    0 the rate is NaN and the interval [0, 1]."""

    rate: float
    low: float
    high: float
    successes: int
    n: int
    level: float
    method: str


def rate_interval(
    successes: int,
    n: int,
    level: float = 0.95,
    method: Literal["wilson", "clopper-pearson"] = "wilson",
) -> RateInterval:
    """Interval for a rate.

    "wilson": score interval, coverage near `level` on average, right for reporting.
    "clopper-pearson": exact, coverage never below `level`, wider.
    Raises ValueError unless 0 <= successes <= n and both are whole, 0 < level < 1, and the method is known.
    """
    if successes != int(successes) or n != int(n) or not 0 <= successes <= n:
        raise ValueError(f"{successes} successes in {n} trials; expected whole numbers, 0 <= successes <= n")
    if not 0 < level < 1:
        raise ValueError(f"level is {level}, expected a share between 0 and 1, e.g. 0.95")
    if method not in ("wilson", "clopper-pearson"):
        raise ValueError(f"method is {method!r}, expected 'wilson' or 'clopper-pearson'")
    successes, n = int(successes), int(n)
    if n == 0:
        return RateInterval(float("nan"), 0.0, 1.0, 0, 0, level, method)
    bounds = _wilson if method == "wilson" else _clopper_pearson
    low, high = bounds(successes, n, level)
    return RateInterval(successes / n, low, high, successes, n, level, method)


ROUNDING = 1e-14
"""Variance of values from 0 to 1 below which they count as equal; beta quantiles fail beyond 1e20 trials."""


def graded_interval(mean: float, variance: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of the mean of n values from 0 to 1 with sample variance `variance` (Korn and Graubard 1998).

    Clopper and Pearson's for as many 0/1 trials as tell as much: n mean (1 - mean) / variance, times (z / t)^2 for the
    estimated variance. Unlike mean +- 1.96 SE it stays inside 0 to 1 and leans where the scores crowd at one end. Equal
    values, also those that rounding tells apart, count as n trials; a single one tells nothing, 0 to 1.
    """
    if n < 2:
        return 0.0, 1.0
    mean, trials = min(max(mean, 0.0), 1.0), float(n)
    if variance > ROUNDING and 0 < mean < 1:
        from scipy.special import stdtrit

        share = (1 + level) / 2
        trials *= mean * (1 - mean) / variance * (NormalDist().inv_cdf(share) / float(stdtrit(n - 1, share))) ** 2
    return _clopper_pearson(mean * trials, trials, level)


def _wilson(k: int, n: int, level: float) -> tuple[float, float]:
    z = NormalDist().inv_cdf((1 + level) / 2)
    centre = (k + z * z / 2) / (n + z * z)
    half = z * sqrt(k * (n - k) / n + z * z / 4) / (n + z * z)
    # At the ends the bound is 0 or 1 exactly; the formula misses it by rounding.
    return (0.0 if k == 0 else centre - half, 1.0 if k == n else centre + half)


def _clopper_pearson(k: float, n: float, level: float) -> tuple[float, float]:
    from scipy.special import betaincinv  # slow to load, and settings load the list of scorers

    tail = (1 - level) / 2
    low = 0.0 if k == 0 else float(betaincinv(k, n - k + 1, tail))
    high = 1.0 if k == n else float(betaincinv(k + 1, n - k, 1 - tail))
    return low, high
