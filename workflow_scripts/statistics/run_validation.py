"""Does a regression hold for a training run it has not seen? The unit is the run, not the checkpoint.

Ours. With few runs a cluster bootstrap has few distinct resamples (35 for 4 runs): read its range as a
sensitivity check and lead with the leave-one-run-out Q2.
"""

from dataclasses import dataclass
from math import comb

import numpy as np

MIN_RUNS = 3
"""Training runs below which a claim is called underpowered: with two, leaving one out leaves a single run to learn
from."""


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


@dataclass(frozen=True)
class ClusterBootstrap:
    """R2 over resampled runs.

    r2                  of all points
    low, high           percentiles of the defined draws at `level`
    r2_draws            (draws,) float64, NaN where a draw's x or y is constant. Two measures drawn with the
                        same runs and seed use the same resamples, so differences of their draws are paired
    undefined           number of NaN draws
    distinct_resamples  number of different multisets of runs, comb(2 runs - 1, runs)
    """

    r2: float
    low: float
    high: float
    level: float
    r2_draws: np.ndarray
    undefined: int
    n: int
    runs: int
    distinct_resamples: int
    seed: int
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


def cluster_bootstrap_r2(
    x: np.ndarray, y: np.ndarray, runs: np.ndarray, draws: int, seed: int, level: float = 0.95
) -> ClusterBootstrap:
    """R2 of y (n,) on x (n,) when whole runs are drawn with replacement, `draws` times.

    Vectorised over draws: the sums behind R2 add up over runs. Points with a non-finite entry are left out.
    NaN with a note for fewer than 2 runs or if every draw is undefined. Raises ValueError for lengths that
    differ or draws < 1.
    """
    if draws < 1:
        raise ValueError(f"draws is {draws}, expected at least 1")
    columns, y, runs = _checked(x, y, runs)
    if columns.shape[1] != 1:
        raise ValueError(f"x has {columns.shape[1]} columns, expected one measure")
    finite = np.isfinite(y) & np.isfinite(columns[:, 0])
    x, y = columns[finite, 0], y[finite]
    names, code = np.unique(runs[finite], return_inverse=True)
    count, notes = names.size, []
    if finite.size > x.size:
        notes.append(f"{finite.size - x.size} non-finite points left out")
    r2, values = float("nan"), np.full(draws, np.nan)
    if count >= 2:
        # Centring and scaling keeps the sums of squares free of cancellation.
        u, v = _standardised(x), _standardised(y)
        sums = np.stack(
            [
                np.bincount(code.reshape(-1), weights=w, minlength=count)
                for w in (np.ones_like(u), u, v, u * u, v * v, u * v)
            ]
        )
        r2 = float(_r2_from_sums(sums.sum(axis=1)))
        drawn = np.random.default_rng(seed).integers(count, size=(draws, count))
        multiplicity = np.stack([(drawn == run).sum(axis=1) for run in range(count)], axis=1)
        values = _r2_from_sums(sums @ multiplicity.T)
    else:
        notes.insert(0, f"undefined: {count} runs, at least 2 needed")
    defined = values[~np.isnan(values)]
    low = high = float("nan")
    if defined.size:
        low, high = (float(q) for q in np.quantile(defined, [(1 - level) / 2, (1 + level) / 2]))
    elif count >= 2:
        notes.insert(0, "undefined: x or y is constant in every draw")
    return ClusterBootstrap(
        r2=r2,
        low=low,
        high=high,
        level=level,
        r2_draws=values,
        undefined=int(np.isnan(values).sum()),
        n=x.size,
        runs=count,
        distinct_resamples=comb(2 * count - 1, count) if count else 0,
        seed=seed,
        note="; ".join(notes),
    )


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
