"""Is a number another one in a group of questions than in the rest of them?"""

import numpy as np

from workflow_scripts.statistics.means import Interval, Mean, combined

CHUNK = 250
"""Draws made at once."""
ROUNDING = 1e-9


def groups_interval(one: Mean, other: Mean) -> Interval:
    """95 % interval of the difference of numbers of different questions, which is twice a mean: MOVER (`combined`).

    NaN where a number has no interval.
    """
    low, high = other.interval
    ends = combined([(one.value, *one.interval), (-other.value, -high, -low)])
    return 2 * ends[0], 2 * ends[1]


def exchange_p(values: np.ndarray, members: np.ndarray, *, draws: int, seed: int) -> float:
    """Two-sided p of the difference of means between members and the rest, by exchanging who is a member.

    Welch's t is compared with that of `draws` random groups of the same size (Janssen 1997): exact where membership
    says nothing about the values, and right for many questions where it changes their spread only. At least
    1 / (draws + 1).

    Args:
        values: (n,). members: (n,) bool, two at least in and out.
    """
    if min(members.sum(), (~members).sum()) < 2:
        raise ValueError(f"{members.sum()} of {len(members)} in the group: a test needs two in it and two outside")
    if not np.isfinite(values).all():
        raise ValueError("values that are not finite have no test; leave them out")
    values = values - values.mean()
    observed = abs(_welch_t(values, members[None])[0])
    rng, as_large = np.random.default_rng(seed), 0
    for start in range(0, draws, CHUNK):
        drawn = rng.permuted(np.tile(members, (min(CHUNK, draws - start), 1)), axis=1)
        as_large += int((np.abs(_welch_t(values, drawn)) >= observed * (1 - ROUNDING)).sum())
    return (1 + as_large) / (1 + draws)


def _welch_t(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """(n,) values and (g, n) groups, all of one size -> (g,) t; infinite for different groups without spread."""
    powers = np.stack([values, values**2])
    inside = powers @ groups.T
    difference, variance, k = 0.0, 0.0, int(groups[0].sum())
    for sign, size, (total, squares) in ((1, k, inside), (-1, len(values) - k, powers.sum(axis=1)[:, None] - inside)):
        spread = squares - total**2 / size
        spread = np.where(spread > ROUNDING * (values @ values), spread, 0)
        difference, variance = difference + sign * total / size, variance + spread / (size - 1) / size
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.abs(difference) <= ROUNDING * np.abs(values).max(), 0.0, difference / np.sqrt(variance))
