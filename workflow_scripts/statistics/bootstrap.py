"""Paired bootstrap over items: intervals for a difference of means of two conditions scored on the same
questions.

Ours; the paper prints differences without intervals.
"""

from dataclasses import dataclass

import numpy as np

CHUNK = 4_000_000
"""Indices drawn at a time, about 32 MB."""


@dataclass(frozen=True)
class BootstrapInterval:
    """Difference of means with its percentile interval.

    estimate, low, high  in the units of the scores; low and high are NaN for a single item
    n                    items (over all subsets)
    subsets              number of subsets averaged without weights
    draws, seed, level   of the bootstrap
    note                 "" or why the interval is NaN
    """

    estimate: float
    low: float
    high: float
    level: float
    n: int
    subsets: int
    draws: int
    seed: int
    note: str = ""


def paired_bootstrap(
    first: np.ndarray, second: np.ndarray, draws: int, seed: int, level: float = 0.95
) -> BootstrapInterval:
    """mean(first - second) over items (n,), with a percentile interval from resampled items.

    Raises ValueError if the lengths differ or are 0, a score is not finite, or draws < 1.
    """
    return _summarise({"": _differences(first, second, "")}, draws, seed, level)


def _differences(first: np.ndarray, second: np.ndarray, where: str) -> np.ndarray:
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape or first.size == 0:
        raise ValueError(
            f"scores{where} have shapes {first.shape} and {second.shape}; expected the same items (n,) twice, n > 0"
        )
    difference = first - second
    if not np.isfinite(difference).all():
        item = int(np.flatnonzero(~np.isfinite(difference))[0])
        raise ValueError(f"scores{where} of item {item} are {first[item]} and {second[item]}; drop unscored items")
    return difference


def _summarise(differences: dict[str, np.ndarray], draws: int, seed: int, level: float) -> BootstrapInterval:
    if draws < 1:
        raise ValueError(f"draws is {draws}, expected at least 1")
    names = sorted(differences)
    n, count = sum(d.size for d in differences.values()), len(names)
    estimate = float(np.mean([differences[name].mean() for name in names]))
    single = [name for name in names if differences[name].size == 1]
    if single:
        note = "undefined: one item cannot be resampled" + (f" (subset {single[0]})" if single[0] else "")
        return BootstrapInterval(estimate, float("nan"), float("nan"), level, n, count, draws, seed, note)
    # One stream per subset, so that a subset's draws do not depend on the sizes of the others.
    streams = np.random.SeedSequence(seed).spawn(count)
    means = sum(_resampled_means(differences[k], draws, s) for k, s in zip(names, streams)) / count
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return BootstrapInterval(estimate, float(low), float(high), level, n, count, draws, seed)


def _resampled_means(difference: np.ndarray, draws: int, stream: np.random.SeedSequence) -> np.ndarray:
    rng = np.random.default_rng(stream)
    means = np.empty(draws)
    step = max(1, CHUNK // difference.size)
    for start in range(0, draws, step):
        rows = min(step, draws - start)
        means[start : start + rows] = difference[rng.integers(difference.size, size=(rows, difference.size))].mean(
            axis=1
        )
    return means
