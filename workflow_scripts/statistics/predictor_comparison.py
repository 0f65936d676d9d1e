"""Does one measure predict better than another? Paired over resampled runs; the paper compares two R2 by eye."""

from dataclasses import dataclass

import numpy as np

from workflow_scripts.statistics.run_validation import MIN_RUNS, cluster_bootstrap_r2, leave_one_run_out_q2


@dataclass(frozen=True)
class PredictorComparison:
    """R2 of the first minus R2 of the second measure on the same points.

    low, high: percentiles over resampled runs, the same for both. q2_difference: of the leave-one-run-out Q2. NaN with
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
    first: np.ndarray, second: np.ndarray, y: np.ndarray, runs: np.ndarray, draws: int, seed: int, level: float = 0.95
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
    fits = [cluster_bootstrap_r2(x, y, runs, draws, seed) for x in (one, two)]
    q2 = [leave_one_run_out_q2(x, y, runs).q2 for x in (one, two)]
    difference = fits[0].r2_draws - fits[1].r2_draws
    defined = difference[~np.isnan(difference)]
    low = high = nan
    if defined.size:
        low, high = (float(value) for value in np.quantile(defined, [(1 - level) / 2, (1 + level) / 2]))
    note = f"{fits[0].distinct_resamples} distinct resamples of runs"
    return PredictorComparison(fits[0].r2 - fits[1].r2, low, high, q2[0] - q2[1], n, count, level, note)
