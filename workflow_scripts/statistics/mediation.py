"""How much of the difference between two runs a patch brings about, over questions (ours, after Zhang and Nanda 2024).

The share is a ratio of means, mean(patched - base) / mean(target - base): 0 as the unpatched run, 1 as the run that the
states come from, unclipped. Ratios of single questions explode where both runs agree; means do not.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata, t, wilcoxon

HALF = 0.5
LEVEL, POWER = 0.95, 0.8


@dataclass(frozen=True)
class Shares:
    """Shares of C cells over n questions.

    Attributes:
        estimate: (C,). low, high: (C,) percentile interval over resampled questions, NaN for fewer than two.
        draws: (B, C) of the bootstrap, every draw the same questions in all cells.
    """

    estimate: np.ndarray
    low: np.ndarray
    high: np.ndarray
    draws: np.ndarray


def restored_shares(patched: np.ndarray, base: np.ndarray, target: np.ndarray, draws: int, seed: int) -> Shares:
    """Shares of cells (n, C), given the outcomes (n,) of both unpatched runs.

    NaN where the mean of target - base is 0. Raises ValueError for shapes that do not fit or no question.
    """
    patched, base, target = (np.asarray(values, dtype=np.float64) for values in (patched, base, target))
    if patched.ndim != 2 or base.shape != target.shape or base.shape != patched.shape[:1] or not len(base):
        raise ValueError(f"patched {patched.shape}, base {base.shape}, target {target.shape}: expected (n, C), (n,)")
    change, gap = patched - base[:, None], target - base
    estimate = _share(change.mean(axis=0), gap.mean())
    n = len(base)
    if n < 2:
        nothing = np.full(len(estimate), np.nan)
        return Shares(estimate, nothing, nothing, np.empty((0, len(estimate))))
    chosen = np.random.default_rng(seed).integers(n, size=(draws, n))
    weights = np.stack([np.bincount(row, minlength=n) for row in chosen]) / n
    drawn = _share(weights @ change, (weights @ gap)[:, None])
    low, high = np.nanquantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return Shares(estimate, low, high, drawn)


def _share(change: np.ndarray, gap: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(gap == 0, np.nan, change / gap)


def first_reaching(shares: np.ndarray, level: float, never: int) -> np.ndarray:
    """Index of the first of C shares that is at least `level`, of each row (..., C); `never` where none is."""
    reached = np.asarray(shares) >= level
    return np.where(reached.any(axis=-1), reached.argmax(axis=-1), never)


def last_reaching(shares: np.ndarray, level: float) -> np.ndarray:
    """Index of the last one that is at least `level`; -1 where none is."""
    reached = np.asarray(shares)[..., ::-1] >= level
    return np.where(reached.any(axis=-1), reached.shape[-1] - 1 - reached.argmax(axis=-1), -1)


def split_half(patched: np.ndarray, base: np.ndarray, target: np.ndarray, draws: int = 200, seed: int = 0) -> float:
    """Median Spearman correlation of the profiles (C,) of two random halves of the questions.

    NaN for fewer than four questions or three cells, or where a half's profile is constant or undefined.
    """
    patched, base, target = (np.asarray(values, dtype=np.float64) for values in (patched, base, target))
    n, cells = patched.shape
    if n < 4 or cells < 3:
        return float("nan")
    rng, found = np.random.default_rng(seed), []
    for _ in range(draws):
        order = rng.permutation(n)
        profiles = [
            _share((patched[half] - base[half, None]).mean(axis=0), (target[half] - base[half]).mean())
            for half in (order[: n // 2], order[n // 2 :])
        ]
        if np.isfinite(profiles).all() and min(map(np.ptp, profiles)) > 0:
            found.append(np.corrcoef(*map(rankdata, profiles))[0, 1])
    return float(np.median(found)) if found else float("nan")


def paired_p(patched: np.ndarray, null: np.ndarray) -> float:
    """Two-sided Wilcoxon signed-rank p of (n,) paired outcomes; 1 where all are equal."""
    difference = np.asarray(patched, dtype=np.float64) - np.asarray(null, dtype=np.float64)
    return float(wilcoxon(difference).pvalue) if np.any(difference) else 1.0


def detectable_share(patched: np.ndarray, null: np.ndarray, gap: float) -> float:
    """Smallest mean difference, as a share of the gap, that a paired t test finds with 80 % power at .05.

    NaN for fewer than two questions or a gap of 0.
    """
    difference = np.asarray(patched, dtype=np.float64) - np.asarray(null, dtype=np.float64)
    n = len(difference)
    if n < 2 or gap == 0:
        return float("nan")
    quantiles = t.ppf((1 + LEVEL) / 2, n - 1) + t.ppf(POWER, n - 1)
    return float(quantiles * difference.std(ddof=1) / np.sqrt(n) / abs(gap))
