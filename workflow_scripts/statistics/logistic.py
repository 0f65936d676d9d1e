"""Logistic regression with errors clustered by training run. Ours: the paper regresses over checkpoints only.

Answers of one run share its weights, so that thousands of answers are as many independent facts as there are runs. The
sandwich estimator sums the score vectors within each run before squaring them (Liang and Zeger 1986), with the factor
G / (G - 1) for G runs, and p values of Student's t with G - 1 degrees of freedom.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, stdtr, stdtrit

MOST_STEPS = 60
CONVERGED = 1e-8
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
    groups = np.unique(runs)
    notes = [f"{int((~finite).sum())} rows with undefined entries left out"] if not finite.all() else []
    nothing = np.full(len(names), np.nan)

    def undefined(reason: str) -> LogisticFit:
        note = "; ".join([f"undefined: {reason}", *notes])
        return LogisticFit(tuple(names), nothing, nothing, nothing, nothing, len(y), len(groups), level, note)

    if len(y) < 2 or y.min() == y.max():
        return undefined("all answers are equally right" if len(y) else "no answers")
    used = _independent(x)
    if len(used) < len(names):
        notes.append(f"constant or repeated: {', '.join(names[k] for k in range(len(names)) if k not in used)}")
    if len(y) <= len(used) + 1:
        return undefined(f"{len(y)} answers for {len(used) + 1} parameters")
    scaled = (x[:, used] - x[:, used].mean(axis=0)) / x[:, used].std(axis=0)
    design = np.column_stack([np.ones(len(y)), scaled])
    beta = _newton(design, y)
    if beta is None or np.abs(beta).max() > SEPARATED:
        return undefined("a column separates right from wrong answers")
    coefficient, low, high, p = (nothing.copy() for _ in range(4))
    coefficient[used] = beta[1:]
    if len(groups) > 1:
        error = _clustered_errors(design, y, beta, runs, groups)[1:]
        df = len(groups) - 1
        low[used] = beta[1:] - stdtrit(df, (1 + level) / 2) * error
        high[used] = beta[1:] + stdtrit(df, (1 + level) / 2) * error
        p[used] = 2 * stdtr(df, -np.abs(beta[1:]) / np.where(error > 0, error, np.nan))
    else:
        notes.append("no errors: a single run")
    return LogisticFit(tuple(names), coefficient, low, high, p, len(y), len(groups), level, "; ".join(notes))


def _independent(x: np.ndarray) -> list[int]:
    """Columns that are neither constant nor a combination of the ones before."""
    basis, used = [np.ones(len(x)) / np.sqrt(len(x))], []
    for k in range(x.shape[1]):
        size = np.linalg.norm(x[:, k])
        column = x[:, k] / (size if size > 0 else 1.0)
        for _ in range(2):
            for vector in basis:
                column = column - (column @ vector) * vector
        if np.linalg.norm(column) > 1e-8:
            basis.append(column / np.linalg.norm(column))
            used.append(k)
    return used


def _newton(design: np.ndarray, y: np.ndarray) -> np.ndarray | None:
    beta = np.zeros(design.shape[1])
    for _ in range(MOST_STEPS):
        mean = expit(design @ beta)
        information = (design * (mean * (1 - mean))[:, None]).T @ design
        step = np.linalg.lstsq(information, design.T @ (y - mean), rcond=None)[0]
        beta = beta + step
        if np.abs(step).max() < CONVERGED:
            return beta
    return None


def _clustered_errors(
    design: np.ndarray, y: np.ndarray, beta: np.ndarray, runs: np.ndarray, groups: np.ndarray
) -> np.ndarray:
    mean = expit(design @ beta)
    bread = np.linalg.pinv((design * (mean * (1 - mean))[:, None]).T @ design)
    scores = design * (y - mean)[:, None]
    sums = np.stack([scores[runs == group].sum(axis=0) for group in groups])
    covariance = bread @ (sums.T @ sums) @ bread * len(groups) / (len(groups) - 1)
    return np.sqrt(np.maximum(np.diag(covariance), 0.0))
