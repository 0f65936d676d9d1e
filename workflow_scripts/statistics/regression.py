"""Linear regression of the gap on a measure, with what a single R2 hides; fits by statsmodels.

Source: arXiv 2510.12116 regresses GAP on Sim and APS over checkpoints and reports R2. Beyond it: model dummies, partial
R2 and the Fisher interval, since checkpoints of one training run are dependent and training time alone predicts the
gap.

A regression that is not defined (too few points, constant x) is a result, not a failure: values are NaN and `note` says
why. Arrays of different lengths are a failure (ValueError).
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from scipy.special import betainc
from statsmodels.regression.linear_model import OLS

CONSTANT = 1e-12
"""Deviations below this share of a variable's size are rounding: it counts as constant, or as fully explained."""


@dataclass(frozen=True)
class LinearFit:
    """Least squares y = intercept + slope x.

    slope_low, slope_high  t interval of the slope at `level`; NaN without any spread around the line
    p                      two-sided t test of slope = 0, as if points were independent: optimistic for checkpoints
    n                      points used
    note                   "" or why something is NaN, and how many non-finite points were left out
    """

    slope: float
    intercept: float
    slope_low: float
    slope_high: float
    r2: float
    p: float
    n: int
    level: float
    note: str


@dataclass(frozen=True)
class PartialR2:
    """What x adds to a model that already holds the covariates.

    value                (RSS_reduced - RSS_full) / RSS_reduced, in [0, 1]
    r2_reduced, r2_full  of [1, covariates] and of [1, covariates, x]
    p                    F test of the added columns
    n, df_residual       points used, and residual degrees of freedom of the full model
    note                 "" or why `value` or `p` is NaN
    """

    value: float
    r2_reduced: float
    r2_full: float
    p: float
    n: int
    df_residual: int
    note: str


@dataclass(frozen=True)
class Interval:
    """An interval with its level, and a note if it is undefined (NaN)."""

    low: float
    high: float
    level: float
    note: str = ""


def linear_fit(x: np.ndarray, y: np.ndarray, level: float = 0.95) -> LinearFit:
    """Regress y (n,) on x (n,).

    Points with a non-finite x or y are left out and counted in `note`. Undefined for n < 3 or constant x; no R2 and p
    for constant y. Raises ValueError only for lengths that differ.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"x and y have shapes {x.shape} and {y.shape}; expected (n,) each")
    finite = np.isfinite(x) & np.isfinite(y)
    x, y, note, nan = x[finite], y[finite], _left_out(int((~finite).sum())), float("nan")
    reason = ""
    if x.size < 3:
        reason = f"undefined: {x.size} points, at least 3 needed"
    elif _negligible(((x - x.mean()) ** 2).sum(), x):
        reason = "undefined: x is constant"
    if reason:
        return LinearFit(nan, nan, nan, nan, nan, nan, x.size, level, _join(reason, note))
    # Centred, so that the digits of x and y are spent on their differences.
    fit = OLS(y - y.mean(), np.column_stack([x - x.mean(), np.ones(x.size)])).fit()
    slope, (low, high) = float(fit.params[0]), fit.conf_int(1 - level)[0]
    if _negligible(float(fit.ssr), y):
        low = high = nan  # no spread around the line: nothing tells how it would differ on other points
    if _negligible(((y - y.mean()) ** 2).sum(), y):
        r2 = p = nan
        note = _join("undefined: y is constant", note)
    else:
        r2, p = max(float(fit.rsquared), 0.0), float(fit.pvalues[0])
    return LinearFit(slope, float(y.mean() - slope * x.mean()), float(low), float(high), r2, p, x.size, level, note)


def partial_r2(y: np.ndarray, x: np.ndarray, covariates: np.ndarray) -> PartialR2:
    """Partial R2 of x given covariates, e.g. APS given run dummies and log(step).

    y (n,), x (n,) or (n, q), covariates (n, c); an intercept is always added, so leave one dummy out
    (`group_dummies` does) or not: collinear columns are harmless. Rows with a non-finite entry are left out.
    Undefined if x lies in the span of the covariates, nothing is left to explain, or no residual degree of
    freedom remains. Raises ValueError for lengths that differ.
    """
    y = np.asarray(y, dtype=np.float64)
    x, covariates = _columns(x, y.size, "x"), _columns(covariates, y.size, "covariates")
    finite = np.isfinite(y) & np.isfinite(x).all(axis=1) & np.isfinite(covariates).all(axis=1)
    note = _left_out(int((~finite).sum()))
    y, x, covariates = y[finite], x[finite], covariates[finite]
    n, nan = y.size, float("nan")
    if n < 3:
        return PartialR2(nan, nan, nan, nan, n, 0, _join(f"undefined: {n} points, at least 3 needed", note))
    reduced = np.column_stack([np.ones(n), covariates])
    rss_reduced, rank_reduced = _rss(reduced, y)
    rss_full, rank_full = _rss(np.column_stack([reduced, x]), y)
    total = ((y - y.mean()) ** 2).sum()
    df, added = n - rank_full, rank_full - rank_reduced
    r2_reduced = r2_full = nan
    if not _negligible(total, y):
        r2_reduced, r2_full = 1 - rss_reduced / total, 1 - rss_full / total
    reason = ""
    if added == 0:
        reason = "undefined: x is a linear combination of the covariates"
    elif df < 1:
        reason = f"undefined: {n} points leave no residual degree of freedom for {rank_full} parameters"
    elif _negligible(rss_reduced, y):
        reason = "undefined: the covariates explain y completely"
    if reason:
        return PartialR2(nan, float(r2_reduced), float(r2_full), nan, n, df, _join(reason, note))
    value = min(max((rss_reduced - rss_full) / rss_reduced, 0.0), 1.0)
    # F = (value / added) / ((1 - value) / df), whose upper tail is this incomplete beta function of value
    # itself.
    p = betainc(df / 2, added / 2, 1 - value)
    return PartialR2(float(value), float(r2_reduced), float(r2_full), float(p), n, df, note)


def group_dummies(groups: np.ndarray) -> np.ndarray:
    """Indicator columns (n, G - 1) float64 of all groups but the first in sorted order."""
    groups = np.asarray(groups)
    return (groups[:, None] == np.unique(groups)[None, 1:]).astype(np.float64)


def r2_fisher_interval(r2: float, n: int, level: float = 0.95) -> Interval:
    """Interval of the R2 of a simple regression by Fisher's z = atanh(r) with SE 1 / sqrt(n - 3).

    If the interval of |r| reaches below 0, `low` is 0. It assumes independent points: over checkpoints it is
    optimistic. NaN with a note for n < 4 or an undefined r2. Raises ValueError for r2 outside [0, 1].
    """
    if np.isnan(r2) or n < 4:
        return Interval(float("nan"), float("nan"), level, f"undefined: r2 {r2:g} with {n} points, 4 needed")
    if not 0 <= r2 <= 1:
        raise ValueError(f"r2 is {r2}, expected a share between 0 and 1")
    if r2 == 1:
        return Interval(float("nan"), float("nan"), level, "undefined: no spread around the line")
    z, half = np.arctanh(np.sqrt(r2)), NormalDist().inv_cdf((1 + level) / 2) / np.sqrt(n - 3)
    return Interval(float(max(np.tanh(z - half), 0.0) ** 2), float(np.tanh(z + half) ** 2), level)


def _columns(values: np.ndarray, n: int, name: str) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or values.shape[0] != n:
        raise ValueError(f"{name} has shape {values.shape}, expected ({n}, columns) to match y")
    return values


def _rss(design: np.ndarray, y: np.ndarray) -> tuple[float, int]:
    """Residual sum of squares and rank. Columns are scaled first, so that the rank does not depend on
    units."""
    scale = np.linalg.norm(design, axis=0)
    design = design / np.where(scale > 0, scale, 1.0)
    coefficients, _, rank, _ = np.linalg.lstsq(design, y, rcond=1e-10)
    residual = y - design @ coefficients
    return float(residual @ residual), int(rank)


def _negligible(sum_of_squares: float, values: np.ndarray) -> bool:
    """Whether a sum of squared deviations of `values` is nothing but rounding."""
    return bool(sum_of_squares <= CONSTANT**2 * (values @ values))


def _left_out(count: int) -> str:
    return f"{count} non-finite points left out" if count else ""


def _join(*notes: str) -> str:
    return "; ".join(note for note in notes if note)
