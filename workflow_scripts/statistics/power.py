"""What a paired comparison of right and wrong answers can show at all: fewest changes, smallest detectable effect."""

import numpy as np
from scipy.stats import binom


def fewest_discordant(alpha: float = 0.05, tests: int = 1) -> int:
    """Fewest discordant answers with which an exact McNemar test can reach p < alpha / tests, if all go one way.

    6 for a single test at .05: 2 / 2^6 < .05. Raises ValueError unless 0 < alpha < 1 and tests >= 1.
    """
    if not 0 < alpha < 1 or tests < 1:
        raise ValueError(f"alpha is {alpha}, tests is {tests}; expected 0 < alpha < 1 and at least one test")
    n = 1
    while 2 * 0.5**n * tests >= alpha:
        n += 1
    return n


def minimal_detectable_effect(n: int, churn: float = 0.0, alpha: float = 0.05, power: float = 0.8) -> float | None:
    """Smallest true change of accuracy that an exact McNemar test of n questions finds with probability `power`.

    Model: a question turns one way with probability churn + effect and the other way with probability churn, so that
    churn = 0 gives the smallest effect that could ever be found. Exact over both binomials, by bisection to 1e-4.
    None if even the largest possible effect, 1 - 2 churn, is found less often. Raises ValueError unless n >= 1,
    0 <= churn <= .5, and alpha and power lie between 0 and 1.
    """
    if n < 1 or not 0 <= churn <= 0.5 or not 0 < alpha < 1 or not 0 < power < 1:
        raise ValueError(f"n {n}, churn {churn}, alpha {alpha}, power {power}: outside what the model allows")
    discordant = np.arange(n + 1)
    # Largest count of the rarer direction with which d discordant answers still give p < alpha; -1: never.
    limit = binom.ppf(alpha / 2, discordant, 0.5)
    limit -= 2 * binom.cdf(limit, discordant, 0.5) >= alpha

    def found(effect: float) -> float:
        share = 2 * churn + effect
        wanted = (churn + effect) / share
        rejected = binom.cdf(limit, discordant, 1 - wanted) + binom.cdf(limit, discordant, wanted)
        return float((binom.pmf(discordant, n, share) * np.where(limit >= 0, rejected, 0.0)).sum())

    low, high = 1e-6, 1 - 2 * churn
    if high <= low or found(high) < power:
        return None
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (low, middle) if found(middle) >= power else (middle, high)
    return high
