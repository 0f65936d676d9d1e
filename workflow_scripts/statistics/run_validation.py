"""Does a regression hold for a training run it has not seen? The unit is the run, not the checkpoint (ours).

Q2 leaves one run out and predicts it; intervals are the jackknife's over runs. A bootstrap that draws whole runs, which
stood here before, covered 59 % (R2) and 83 % (differences of R2) with four runs and 85 and 91 % with sixteen, for a
nominal 95 %; the jackknife covers 91 to 94 and 94 to 95 % (simulated: `tests/statistics/test_every_interval.py`).
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

MIN_RUNS = 3
"""Training runs below which a claim is called underpowered: with two, leaving one out leaves a single run to learn
from."""
ROUNDING = 1e-12


@dataclass(frozen=True)
class LeaveOneRunOut:
    """Q2 = 1 - sum (y - yhat_-run)^2 / sum (y - ybar_-run)^2; negative if worse than the other runs' mean.

    `predictions` (n,) float64 in the order of the input, NaN where a point was unusable; `note` as elsewhere.
    """

    q2: float
    n: int
    runs: int
    predictions: np.ndarray
    note: str


def leave_one_run_out_q2(x: np.ndarray, y: np.ndarray, runs: np.ndarray) -> LeaveOneRunOut:
    """Fit y (n,) on [1, x] without one run, predict that run, repeat; x is (n,) or (n, columns).

    Dummies of the run itself cannot be estimated without it: use columns that other runs inform (a measure,
    log(step), family). Undefined for fewer than 2 runs or if a fit without one run is rank deficient. Rows
    with a non-finite entry are left out. Raises ValueError for lengths that differ.
    """
    x, y, runs = _checked(x, y, runs)
    finite = np.isfinite(y) & np.isfinite(x).all(axis=1)
    predictions = np.full(y.size, np.nan)
    means = np.full(y.size, np.nan)
    names = np.unique(runs[finite])
    n, left_out = int(finite.sum()), int((~finite).sum())
    note = f"{left_out} non-finite points left out" if left_out else ""

    def result(q2: float, reason: str = "") -> LeaveOneRunOut:
        return LeaveOneRunOut(q2, n, names.size, predictions, "; ".join(t for t in (reason, note) if t))

    if names.size < 2:
        return result(float("nan"), f"undefined: {names.size} runs, at least 2 needed")
    scale = np.abs(x[finite]).max(axis=0)
    design = np.column_stack([np.ones(y.size), x / np.where(scale > 0, scale, 1.0)])
    for name in names:
        held_out = finite & (runs == name)
        rest = finite & ~held_out
        coefficients, _, rank, _ = np.linalg.lstsq(design[rest], y[rest], rcond=1e-10)
        if rank < design.shape[1]:
            predictions[:] = np.nan
            return result(float("nan"), f"undefined: without run {name} the {design.shape[1]} parameters are not fixed")
        predictions[held_out] = design[held_out] @ coefficients
        means[held_out] = y[rest].mean()
    error = ((y - predictions)[finite] ** 2).sum()
    reference = ((y - means)[finite] ** 2).sum()
    if reference == 0:
        return result(float("nan"), "undefined: y is constant")
    return result(float(1 - error / reference))


def r2_without_each_run(x: np.ndarray, y: np.ndarray, runs: np.ndarray) -> tuple[float, np.ndarray]:
    """R2 of y (n,) on x (n,), and the same without each run in turn, (runs,); NaN where x or y is constant.

    Points with a non-finite entry are left out. Raises ValueError for lengths that differ.
    """
    columns, y, runs = _checked(x, y, runs)
    if columns.shape[1] != 1:
        raise ValueError(f"x has {columns.shape[1]} columns, expected one measure")
    finite = np.isfinite(y) & np.isfinite(columns[:, 0])
    if not finite.any():
        return float("nan"), np.empty(0)
    # Centring and scaling keeps the sums of squares free of cancellation; sums add up over runs.
    u, v = _standardised(columns[finite, 0]), _standardised(y[finite])
    _, code = np.unique(runs[finite], return_inverse=True)
    terms = (np.ones_like(u), u, v, u * u, v * v, u * v)
    sums = np.stack([np.bincount(code.reshape(-1), weights=term) for term in terms])
    total = sums.sum(axis=1)
    return float(_r2_from_sums(total)), _r2_from_sums(total[:, None] - sums)


def jackknife_interval(value: float, without: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Student's t interval (runs - 1 degrees of freedom) of a number from its values without each run, (runs,).

    NaN for fewer than `MIN_RUNS` runs, an undefined value, or values that do not differ.
    """
    runs, nan = len(without), float("nan")
    if runs < MIN_RUNS or not np.isfinite([value, *without]).all() or np.ptp(without) < ROUNDING:
        return nan, nan
    error = np.sqrt((runs - 1) / runs * ((without - without.mean()) ** 2).sum())
    half = float(stdtrit(runs - 1, (1 + level) / 2) * error)
    return value - half, value + half


def r2_interval(x: np.ndarray, y: np.ndarray, runs: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Interval of R2 over runs: the jackknife's of atanh |r|, where R2 is near symmetric, turned back to 0 to 1."""
    value, without = r2_without_each_run(x, y, runs)
    low, high = jackknife_interval(float(_atanh(value)), _atanh(without), level)
    return float(np.tanh(max(low, 0.0)) ** 2) if low == low else low, float(np.tanh(high) ** 2)


def _atanh(r2: np.ndarray | float) -> np.ndarray:
    return np.arctanh(np.sqrt(np.clip(r2, 0.0, 1 - ROUNDING)))


def _standardised(values: np.ndarray) -> np.ndarray:
    centred = values - values.mean()
    scale = np.abs(centred).max()
    return centred / scale if scale > 0 else centred


def _r2_from_sums(sums: np.ndarray) -> np.ndarray:
    """Squared correlation from rows n, sum u, sum v, sum uu, sum vv, sum uv; NaN where a variable is
    constant."""
    n, u, v, uu, vv, uv = sums
    suu, svv, suv = uu - u * u / n, vv - v * v / n, uv - u * v / n
    defined = (n >= 3) & (suu > 1e-12 * n) & (svv > 1e-12 * n)
    r2 = np.divide(suv**2, suu * svv, out=np.full(np.shape(n), np.nan), where=defined)
    return np.minimum(r2, 1.0)


def _checked(x: np.ndarray, y: np.ndarray, runs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, y, runs = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64), np.asarray(runs)
    x = x[:, None] if x.ndim == 1 else x
    if y.ndim != 1 or x.ndim != 2 or x.shape[0] != y.size or runs.shape != y.shape:
        raise ValueError(f"x, y and runs have shapes {x.shape}, {y.shape}, {runs.shape}; expected n rows each")
    return x, y, runs
