"""Does one measure predict better than another? Paired over training runs; the paper compares two R2 by eye."""

from dataclasses import dataclass

import numpy as np

from workflow_scripts.statistics.run_validation import (
    MIN_RUNS,
    jackknife_interval,
    leave_one_run_out_q2,
    r2_without_each_run,
)


@dataclass(frozen=True)
class PredictorComparison:
    """R2 of the first minus R2 of the second measure on the same points.

    low, high: jackknife over runs, the same left out for both. q2_difference: of the leave-one-run-out Q2. NaN with
    a note for fewer than three runs.
    """

    r2_difference: float
    low: float
    high: float
    q2_difference: float
    n: int
    runs: int
    level: float
    note: str


def compare_predictors(
    first: np.ndarray, second: np.ndarray, y: np.ndarray, runs: np.ndarray, level: float = 0.95
) -> PredictorComparison:
    """Compare two measures (n,) as predictors of y (n,) over checkpoints of `runs` (n,).

    Points where either measure or y is undefined are left out of both. Raises ValueError for lengths that differ.
    """
    first, second, y = (np.asarray(values, dtype=np.float64) for values in (first, second, y))
    runs = np.asarray(runs)
    if not first.shape == second.shape == y.shape == runs.shape:
        raise ValueError(f"shapes {first.shape}, {second.shape}, {y.shape} and {runs.shape} differ")
    common = np.isfinite(first) & np.isfinite(second) & np.isfinite(y)
    one, two, y, runs = first[common], second[common], y[common], runs[common]
    n, count, nan = int(common.sum()), len(np.unique(runs)), float("nan")
    if count < MIN_RUNS:
        return PredictorComparison(nan, nan, nan, nan, n, count, level, f"underpowered: {count} runs")
    (r2, without), (other, without_other) = (r2_without_each_run(x, y, runs) for x in (one, two))
    q2 = [leave_one_run_out_q2(x, y, runs).q2 for x in (one, two)]
    low, high = jackknife_interval(r2 - other, without - without_other, level)
    return PredictorComparison(r2 - other, low, high, q2[0] - q2[1], n, count, level, "")
