"""McNemar's exact test of right and wrong answers under two conditions, Holm's correction (both statsmodels'), and the
interval of Bonett and Price for the paired difference."""

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np


@dataclass(frozen=True)
class McNemar:
    """Comparison of two conditions on the same n items.

    b           wrong before, right after
    c           right before, wrong after
    net         b - c
    p           exact two-sided binomial test of b against c; 1 if b + c = 0
    difference  (b - c) / n, change of the accuracy, with the Bonett-Price (2012) interval low, high at
                `level`
    """

    b: int
    c: int
    n: int
    net: int
    p: float
    difference: float
    low: float
    high: float
    level: float


def mcnemar(before: np.ndarray, after: np.ndarray, level: float = 0.95) -> McNemar:
    """Test the change from `before` to `after`, (n,) booleans or 0/1 each.

    Raises ValueError if lengths differ or are 0, or a value is neither 0 nor 1.
    """
    before, after = np.asarray(before), np.asarray(after)
    if before.ndim != 1 or before.shape != after.shape or before.size == 0:
        raise ValueError(f"answers have shapes {before.shape} and {after.shape}; expected the same items (n,), n > 0")
    for values in (before, after):
        strange = values[(values != 0) & (values != 1)]
        if strange.size:
            raise ValueError(f"an answer is scored {strange[0]}; McNemar's test needs right (1) or wrong (0)")
    before, after = before.astype(bool), after.astype(bool)
    return mcnemar_from_counts(int((~before & after).sum()), int((before & ~after).sum()), before.size, level)


def mcnemar_from_counts(b: int, c: int, n: int, level: float = 0.95) -> McNemar:
    """The same from the discordant counts among n items. Raises ValueError unless b, c >= 0 and b + c <= n
    > 0."""
    if b < 0 or c < 0 or n < 1 or b + c > n:
        raise ValueError(f"b is {b}, c is {c} among {n} items; expected b, c >= 0 and b + c <= n, n > 0")
    centre, variance = bonett_price(b, c, n)
    half = NormalDist().inv_cdf((1 + level) / 2) * sqrt(variance)
    return McNemar(
        b=b,
        c=c,
        n=n,
        net=b - c,
        p=exact_mcnemar_p(b, c),
        difference=(b - c) / n,
        low=max(-1.0, centre - half),
        high=min(1.0, centre + half),
        level=level,
    )


def bonett_price(b: int, c: int, n: int) -> tuple[float, float]:
    """Centre and variance of the interval of (b - c) / n (Bonett and Price 2012).

    One pseudo-count in each discordant cell keeps the interval honest for few changes; it has a width without any.
    """
    up, down = (b + 1) / (n + 2), (c + 1) / (n + 2)
    return up - down, (up + down - (up - down) ** 2) / (n + 2)


def exact_mcnemar_p(b: int, c: int) -> float:
    """Exact two-sided p value: min(1, 2 P(X <= min(b, c))) for X ~ Binomial(b + c, 1/2)."""
    from statsmodels.stats.contingency_tables import mcnemar as exact_mcnemar  # slow to load

    return float(exact_mcnemar(np.array([[0, b], [c, 0]]), exact=True).pvalue)


def holm(p: np.ndarray) -> np.ndarray:
    """Holm-adjusted p values (m,) in the order given; reject where adjusted <= alpha for a family-wise alpha.

    NaN (untested) stays NaN and does not count as a test. Raises ValueError for a p outside [0, 1].
    """
    p = np.asarray(p, dtype=np.float64)
    if p.ndim != 1:
        raise ValueError(f"p values have shape {p.shape}, expected (m,)")
    if (p < 0).any() or (p > 1).any():
        raise ValueError(f"p values range from {np.nanmin(p)} to {np.nanmax(p)}, expected 0 to 1")
    from statsmodels.stats.multitest import multipletests  # slow to load

    adjusted, tested = np.full(p.shape, np.nan), ~np.isnan(p)
    if tested.any():
        adjusted[tested] = multipletests(p[tested], method="holm")[1]
    return adjusted
