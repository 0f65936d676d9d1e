"""Logistic regression with errors clustered by training run. Ours: the paper regresses over checkpoints only.

Answers of one run share its weights, so that thousands of answers are as many independent facts as there are runs. The
fit and the sandwich estimator (Liang and Zeger 1986) are statsmodels'; G runs give the factor G / (G - 1), as in Stata,
and p values of Student's t with G - 1 degrees of freedom.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

SEPARATED = 30.0
"""A standardised coefficient beyond this means that a column separates right from wrong: no finite estimate exists."""


@dataclass(frozen=True)
class LogisticFit:
    """Log odds ratios per standard deviation of each column (q,), in the order of `names`; NaN where undefined.

    low, high: t interval at `level`; p: two-sided, clustered; NaN for fewer than two runs. n answers, runs. note: why
    something is NaN, or which columns were dropped as constant or repeated.
    """

    names: tuple[str, ...]
    coefficient: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray
    n: int
    runs: int
    level: float
    note: str


def logistic_fit(
    y: np.ndarray, x: np.ndarray, names: Sequence[str], runs: np.ndarray, level: float = 0.95
) -> LogisticFit:
    """Regress y (n,) in {0, 1} on columns x (n, q); an intercept is added and columns are standardised.

    Rows with a non-finite entry are left out. Raises ValueError for shapes that differ or y other than 0 and 1.
    """
    y, x, runs = np.asarray(y, dtype=np.float64), np.asarray(x, dtype=np.float64), np.asarray(runs)
    if x.ndim != 2 or y.shape != x.shape[:1] or runs.shape != y.shape or len(names) != x.shape[1]:
        raise ValueError(f"y {y.shape}, x {x.shape}, runs {runs.shape} and {len(names)} names do not fit each other")
    finite = np.isfinite(y) & np.isfinite(x).all(axis=1)
    y, x, runs = y[finite], x[finite], runs[finite]
    if not np.isin(y, (0, 1)).all():
        raise ValueError("y must hold 0 and 1 only")
    groups, members = np.unique(runs, return_inverse=True)
    notes = [f"{int((~finite).sum())} rows with undefined entries left out"] if not finite.all() else []
    coefficient, low, high, p = np.full((4, len(names)), np.nan)

    def result(*reasons: str) -> LogisticFit:
        note = "; ".join([*(f"undefined: {reason}" for reason in reasons), *notes])
        return LogisticFit(tuple(names), coefficient, low, high, p, len(y), len(groups), level, note)

    if len(y) < 2 or y.min() == y.max():
        return result("all answers are equally right" if len(y) else "no answers")
    used = _independent(x)
    if len(used) < len(names):
        notes.append(f"constant or repeated: {', '.join(names[k] for k in range(len(names)) if k not in used)}")
    if len(y) <= len(used) + 1:
        return result(f"{len(y)} answers for {len(used) + 1} parameters")
    scaled = (x[:, used] - x[:, used].mean(axis=0)) / x[:, used].std(axis=0)
    fit = _fit(y, scaled, members)
    if fit is None:
        return result("a column separates right from wrong answers")
    beta, covariance = fit
    coefficient[used] = beta
    if len(groups) < 2:
        notes.append("no errors: a single run")
        return result()
    df = len(groups) - 1
    error = np.sqrt(np.diag(covariance) * len(groups) / df)
    half = stdtrit(df, (1 + level) / 2) * error
    low[used], high[used] = beta - half, beta + half
    p[used] = 2 * stdtr(df, -np.abs(beta) / np.where(error > 0, error, np.nan))
    return result()


def _independent(x: np.ndarray) -> list[int]:
    """Columns that are neither constant nor a combination of the ones before."""
    size = np.linalg.norm(x, axis=0)
    columns = np.column_stack([np.ones(len(x)), x / np.where(size > 0, size, 1.0)])
    ranks = [np.linalg.matrix_rank(columns[:, : k + 1], tol=1e-8) for k in range(columns.shape[1])]
    return [k for k in range(x.shape[1]) if ranks[k + 1] > ranks[k]]


def _fit(y: np.ndarray, scaled: np.ndarray, members: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Coefficients (q,) and their clustered covariance (q, q), without the intercept; None if there is no estimate."""
    import statsmodels.api as sm  # slow to load

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # separation and slow convergence are judged below
            fit = sm.Logit(y, sm.add_constant(scaled, has_constant="add")).fit(
                disp=0, tol=1e-10, cov_type="cluster", cov_kwds={"groups": members, "use_correction": False}
            )
    except np.linalg.LinAlgError:
        return None
    if not fit.mle_retvals["converged"] or np.abs(fit.params).max() > SEPARATED:
        return None
    return fit.params[1:], fit.cov_params()[1:, 1:]
